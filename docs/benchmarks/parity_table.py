"""The errors that the parity tests measured, as a Markdown table.

    python -m pytest tests/models tests/losses --junitxml=parity.xml
    python docs/benchmarks/parity_table.py parity.xml

A test that compares with the published implementation records its error and its tolerance.
"""

import sys
import xml.etree.ElementTree


def main(path: str) -> None:
    print("| test | error | tolerance |")
    print("|---|---:|---:|")
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        properties = {p.get("name"): p.get("value") for p in case.iter("property")}
        if "error" in properties:
            test = f"{case.get('classname').rpartition('.')[2]}: {case.get('name')}"
            error, tolerance = (float(properties[name]) for name in ("error", "tolerance"))
            print(f"| {test} | {error:.1e} | {tolerance:.0e} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
