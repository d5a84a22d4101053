// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/guarded.hpp"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <new>

#include "sdk/check/recorder.hpp"

namespace callgate::check {
namespace {

constexpr std::size_t max_blocks = 8192;
constexpr std::size_t kept_after_revoking = 2048;
const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

// Read by the signal handler without a lock: `begin` is written last and cleared first.
struct entry {
    std::atomic<std::uintptr_t> begin{0};
    std::atomic<std::uintptr_t> end{0};
    std::atomic<std::uintptr_t> guard{0};
    std::atomic<bool> revoked{false};
    guard_rule rule{};
};
std::array<entry, max_blocks> table;

bool plain = false;
std::mutex mutex;
std::deque<std::size_t> graveyard;
std::size_t next_free = 0;

void bury_oldest() {
    const std::size_t i = graveyard.front();
    graveyard.pop_front();
    auto& e = table[i];
    const auto begin = e.begin.exchange(0);
    ::munmap(reinterpret_cast<void*>(begin), e.end - begin);
}

std::size_t take_slot() {
    for (std::size_t n = 0; n < max_blocks; ++n) {
        const std::size_t i = (next_free + n) % max_blocks;
        if (table[i].begin == 0) {
            next_free = i + 1;
            return i;
        }
    }
    throw std::bad_alloc();
}

const char* signal_name(int number) noexcept {
    switch (number) {
        case SIGSEGV: return "SIGSEGV (touched memory that is not there)";
        case SIGBUS: return "SIGBUS";
        case SIGABRT: return "SIGABRT (abort, a failed assertion or an uncaught exception)";
        case SIGFPE: return "SIGFPE";
        case SIGILL: return "SIGILL";
        case SIGTRAP: return "SIGTRAP";
        case SIGPIPE: return "SIGPIPE";
        default: return "a signal";
    }
}

void append(char* to, std::size_t size, const char* text) noexcept {
    const std::size_t used = std::strlen(to);
    const std::size_t n = std::min(std::strlen(text), size - used - 1);
    std::memcpy(to + used, text, n);
    to[used + n] = 0;
}

// Set by the thread that ends the process, whether it reports a fault or runs exit().
std::atomic<bool> ending{false};

// exit() would go on to the destructors of static objects while the other threads still run, and whatever they touched then
// would be reported as their fault. This handler is the last one registered, so it is the first to run.
void on_exit_called(int status, void*) {
    if (ending.exchange(true))
        for (;;) ::pause();
    ::_exit(status);
}

void on_fault(int number, siginfo_t* info, void*) {
    if (ending.exchange(true)) {
        // Another thread is reporting, or in exit(), and will end the process.
        for (;;) ::pause();
    }
    const char* call = progress::current();
    char text[512] = "";
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    if (number == SIGSEGV || number == SIGBUS)
        for (const auto& e : table) {
            const auto begin = e.begin.load();
            if (begin == 0 || address < begin || address >= e.end.load()) continue;
            const bool gone = e.revoked && address < e.guard;
            append(text, sizeof text, "touched ");
            append(text, sizeof text, e.rule.what);
            append(text, sizeof text, gone ? " after its lifetime was over" : " beyond its end");
            if (call[0] != 0) {
                append(text, sizeof text, ", in ");
                append(text, sizeof text, call);
                append(text, sizeof text, "()");
            } else {
                append(text, sizeof text, ", on a thread of the plugin");
            }
            append(text, sizeof text, gone ? ": copy what is needed later before the lifetime named in the header ends"
                                           : ": it ends where its size says; strings are not NUL-terminated and structs of an older host are shorter");
            recorder::write_raw('T', gone ? e.rule.revoked : e.rule.overrun, text);
            // Where it happened goes to the output that the failure text shows.
            void* frames[16];
            const int n = ::backtrace(frames, 16);
            if (n > 2) ::backtrace_symbols_fd(frames + 2, std::min(n - 2, 4), 2);
            ::_exit(0);
        }
    append(text, sizeof text, signal_name(number));
    append(text, sizeof text, call[0] != 0 ? " in " : " on a thread of the plugin");
    append(text, sizeof text, call);
    if (call[0] != 0) append(text, sizeof text, "()");
    recorder::write_raw('C', text, "");
    void* frames[16];
    const int n = ::backtrace(frames, 16);
    if (n > 2) ::backtrace_symbols_fd(frames + 2, std::min(n - 2, 6), 2);
    ::_exit(0);
}

}  // namespace

void use_plain_memory() { plain = true; }

guarded_block::guarded_block(std::size_t size, const guard_rule& rule) : size_(size) {
    if (plain) {
        data_ = static_cast<std::uint8_t*>(std::calloc(1, size + 1));
        if (data_ == nullptr) throw std::bad_alloc();
        return;
    }
    const std::size_t pages = (size + page - 1) / page + 1;
    mapped_ = pages * page;
    void* p = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::uint8_t*>(p);
    ::mprotect(base_ + mapped_ - page, page, PROT_NONE);
    data_ = base_ + mapped_ - page - size;
    const std::lock_guard lock(mutex);
    index_ = take_slot();
    auto& e = table[index_];
    e.rule = rule;
    e.end = reinterpret_cast<std::uintptr_t>(base_ + mapped_);
    e.guard = reinterpret_cast<std::uintptr_t>(base_ + mapped_ - page);
    e.revoked = false;
    e.begin = reinterpret_cast<std::uintptr_t>(base_);
}

void guarded_block::revoke() noexcept {
    if (revoked_ || base_ == nullptr) return;
    revoked_ = true;
    table[index_].revoked = true;
    ::mprotect(base_, mapped_, PROT_NONE);
    // The contents need no memory any more.
    ::madvise(base_, mapped_, MADV_DONTNEED);
}

guarded_block::~guarded_block() {
    if (base_ == nullptr) {
        std::free(data_);
        return;
    }
    revoke();
    const std::lock_guard lock(mutex);
    graveyard.push_back(index_);
    if (graveyard.size() > kept_after_revoking) bury_oldest();
}

void use_fault_stack() {
    constexpr std::size_t size = 64 * 1024;
    thread_local std::unique_ptr<std::uint8_t[]> memory;
    if (!memory) memory = std::make_unique<std::uint8_t[]>(size);
    stack_t s{};
    s.ss_sp = memory.get();
    s.ss_size = size;
    ::sigaltstack(&s, nullptr);
}

void install_fault_handlers() {
    // The first backtrace loads a library, which a handler must not do.
    void* frames[2];
    ::backtrace(frames, 2);
    use_fault_stack();
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigfillset(&action.sa_mask);
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP}) ::sigaction(number, &action, nullptr);
    ::on_exit(on_exit_called, nullptr);
}

}  // namespace callgate::check
