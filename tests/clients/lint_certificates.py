"""Lints certificates with pkilint: lint_certificates.py ROOT LEAF... Prints an object: file, then findings by linter.

`pkix` is RFC 5280, `chain` what must agree between issuer and subject, `cabf` the Baseline Requirements of the
CA/Browser Forum. What is merely told (INFO and below) is no finding."""

import contextlib
import io
import json
import sys

from pkilint.bin import lint_cabf_serverauth_cert, lint_pkix_cert, lint_pkix_signer_signee_cert_chain


def findings(linter, *arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        linter.main(["lint", "-s", "NOTICE", "-f", "JSON", *arguments])
    results = json.loads(out.getvalue())["results"]
    return sorted({found["code"] for result in results for found in result["finding_descriptions"]})


root, *leaves = sys.argv[1:]
report = {root: {"pkix": findings(lint_pkix_cert, root)}}
for leaf in leaves:
    report[leaf] = {
        "pkix": findings(lint_pkix_cert, leaf),
        "chain": findings(lint_pkix_signer_signee_cert_chain, root, leaf),
        "cabf": findings(lint_cabf_serverauth_cert, "-t", "DV-FINAL-CERTIFICATE", leaf),
    }
print(json.dumps(report))
