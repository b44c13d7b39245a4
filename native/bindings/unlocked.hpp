// The time in which a call from Python computes without the GIL.
//
// It ends early in two cases. A signal's Python handler raises an exception: the main thread runs
// handlers between two tasks of a job. Or Python ends: a thread that waited for the GIL then would
// be ended by Python within C++, which aborts the process. So `atexit` ends the computations of all
// other threads by SystemExit, waits until they have the GIL again, and later ones do not begin.
#pragma once

#include <Python.h>

namespace cpm {

class Unlocked {
public:
    Unlocked();
    ~Unlocked();
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

private:
    PyThreadState* state_;
};

// Called once, when the module is imported.
void set_up_unlocked();

}  // namespace cpm
