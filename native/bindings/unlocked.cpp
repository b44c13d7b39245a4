#include "bindings/unlocked.hpp"

#include <nanobind/nanobind.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <thread>

#include "runtime/interruption.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace cpm {
namespace {

namespace nb = nanobind;

// Python is ending: SystemExit, which ends a thread without a word.
struct PythonEnds : std::exception {};

std::atomic<int> computing{0};  // threads in `Unlocked`; changes only with the GIL
std::atomic<bool> ending{false};
std::thread::id ending_thread;  // may still compute: other functions of `atexit` run after ours
thread_local bool in_handler = false;  // in a Python handler of a signal, within a job

bool ends_here() { return ending && std::this_thread::get_id() != ending_thread; }

void check() {
    if (ends_here()) throw PythonEnds();
    const nb::gil_scoped_acquire gil;
    in_handler = true;
    const bool raised = PyErr_CheckSignals() != 0;
    in_handler = false;
    if (raised) throw nb::python_error();
}

void end_computations() {
    ending_thread = std::this_thread::get_id();
    ending = true;
    PyThreadState* const state = PyEval_SaveThread();
    while (const int now = computing) computing.wait(now);
    PyEval_RestoreThread(state);
}

}  // namespace

Unlocked::Unlocked() {
    if (in_handler)
        throw std::runtime_error("a signal handler called a kernel while another one computes");
    if (ends_here()) throw PythonEnds();
    ++computing;
    state_ = PyEval_SaveThread();
}

Unlocked::~Unlocked() {
    PyEval_RestoreThread(state_);
    --computing;
    if (ending) computing.notify_all();
}

void set_up_unlocked() {
    nb::register_exception_translator([](const std::exception_ptr& error, void*) {
        try {
            std::rethrow_exception(error);
        } catch (const PythonEnds&) {
            PyErr_SetNone(PyExc_SystemExit);
        }
    });
    interruption_check = check;
    nb::module_::import_("atexit").attr("register")(nb::cpp_function(end_computations));
#if !defined(_WIN32)
    // Other threads of the parent do not exist in a forked child.
    pthread_atfork(nullptr, nullptr, [] { computing = 0; });
#endif
}

}  // namespace cpm
