"""Files that are mistaken for weights."""

_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "gzip-compressed",
}


def mistaken_for_weights(head: bytes) -> str | None:
    """What a file of weights turns out to be, when that is easily told from its first bytes.

    Args:
      head: some 500 bytes, or all that the file has.

    Returns:
      A phrase for an error message, such as `a PNG image`; None for any other binary file.
    """
    if not head:
        return "empty"
    for signature, sort in _SIGNATURES.items():
        if head.startswith(signature):
            return sort
    if head[257:262] == b"ustar":
        return "a tar archive"
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "text, such as the page that a failed download leaves"
    return None
