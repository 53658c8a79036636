"""From findings to what is read: report.md, report.html, pictures, tables, and the published results."""
