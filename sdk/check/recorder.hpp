// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// What a test's process tells the process that started it. It is written at once, so that nothing is lost when the
/// plugin brings the process down, and it can be written from a signal handler.
namespace callgate::check {

/// A broken rule. `check` is the name of the test that names it, which need not be the one that was running.
struct violation {
    std::string check;
    std::string text;
};

/// Everything a test's process wrote.
struct record {
    std::vector<violation> violations;
    std::vector<std::string> notes;
    std::string skipped;    ///< reason; the plugin lacks what the test is about
    std::string blocked;    ///< reason; another broken rule keeps this one from being judged
    std::string blocked_by; ///< that rule, when it is known
    std::string crash;      ///< signal and place, from the handler
    bool trapped = false;   ///< the last violation was a touch of guarded memory, which ends the process
    bool ended = false;     ///< the test came to its end
};

/// Thrown by tests that cannot go on; the reason names what stands in the way.
class cannot_judge : public std::runtime_error {
  public:
    cannot_judge(std::string check, const std::string& reason) : std::runtime_error(reason), check_(std::move(check)) {}
    [[nodiscard]] const std::string& check() const noexcept { return check_; }

  private:
    std::string check_;
};
/// Thrown by tests about something that this plugin does not have.
class not_applicable : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

namespace recorder {
/// Opens the record of this process. `descriptor` is an empty file.
void open(int descriptor);
/// [any] At most three texts for each check are kept.
void violated(std::string_view check, std::string_view text);
/// [any]
[[nodiscard]] bool has_violated(std::string_view check);
[[nodiscard]] bool any_violated();
void note(std::string_view text);
void skipped(std::string_view reason);
void blocked(std::string_view check, std::string_view reason);
void ended();
/// Async-signal-safe; `kind` is the line's letter: T (check, text) or C (text).
void write_raw(char kind, const char* first, const char* second) noexcept;
/// Reads what a process wrote.
[[nodiscard]] record read(int descriptor);
}  // namespace recorder

/// What each thread of this process is doing, readable by the parent after a hang and by the signal handler.
namespace progress {
inline constexpr std::size_t slots = 80;
struct slot {
    char thread[16];
    char call[48];
};
struct page {
    slot threads[slots];
};
/// Shared with the children that are forked afterwards.
[[nodiscard]] page& shared();
void clear();
/// Names the calling thread; takes a slot.
void name_thread(std::string_view name);
/// What the calling thread is in: a function of the plugin, or "".
[[nodiscard]] const char* current() noexcept;
/// "authenticate on shard 0, start on control" or "".
[[nodiscard]] std::string in_calls();

/// While it lives, the calling thread is in that function of the plugin.
class call {
  public:
    explicit call(const char* function) noexcept;
    ~call();
    call(const call&) = delete;
    call& operator=(const call&) = delete;

  private:
    char before_[48];
};
}  // namespace progress

}  // namespace callgate::check
