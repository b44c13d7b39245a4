"""`python -m cpm_lm`: the command line, if the script `cpm` is not on the PATH."""

from cpm_lm.cli import main

main()
