"""The type of a file that was named as weights and holds something else."""

_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "gzip-compressed",
}


def recognize(head: bytes) -> str | None:
    """The type of a file, where its first bytes tell.

    Args:
      head: the first 500 bytes, or all of a shorter file.

    Returns:
      A phrase for an error message, such as `a PNG image`; None for any other binary file.
    """
    if not head:
        return "empty"
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive"
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "text, such as the page that a failed download leaves"
    return None
