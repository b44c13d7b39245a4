// Ends a process that a signal shall end, when Python's handler does not get its turn.
#pragma once

#include <string>

namespace cpm {

// After SIGINT, SIGTERM or SIGHUP, whose present handlers still run, wait for `seconds`; then end
// the process with exit code 128 + n. A second SIGINT ends it at once. SIGALRM is used: alarm(0),
// called by Python's handler, says that the process is not stuck. Signals that are ignored stay
// ignored.
//
// last_words: written to stderr before such an end, such as what shows a terminal's cursor again.
void end_if_stuck(unsigned seconds, const std::string& last_words);

}  // namespace cpm
