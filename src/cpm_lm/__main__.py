"""`python -m cpm_lm`: the command line where scripts are not on the PATH."""

from cpm_lm.cli import main

main()
