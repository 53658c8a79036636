"""Reports of studies."""

def print_findings(out, folders):
    print("no report yet")
