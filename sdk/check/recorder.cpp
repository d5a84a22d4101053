// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/recorder.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

namespace callgate::check {
namespace recorder {
namespace {

constexpr int texts_of_a_check = 3;
constexpr std::size_t max_text = 4000;

int out = -1;
std::mutex mutex;
std::map<std::string, int, std::less<>> seen;

std::string escape(std::string_view text) {
    std::string e;
    for (const char c : text.substr(0, max_text)) {
        if (c == '\n')
            e += "\\n";
        else if (c == '\t')
            e += ' ';
        else if (c == '\\')
            e += "\\\\";
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            e += '?';
        else
            e += c;
    }
    return e;
}

std::string unescape(std::string_view text) {
    std::string u;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) {
            ++i;
            u += text[i] == 'n' ? '\n' : text[i];
        } else {
            u += text[i];
        }
    }
    return u;
}

void put(char kind, std::string_view first, std::string_view second) {
    const std::string line = std::string(1, kind) + "\t" + escape(first) + "\t" + escape(second) + "\n";
    // One write for a line: threads and the signal handler must not cut into each other's.
    (void)!::write(out, line.data(), line.size());
}

}  // namespace

void open(int descriptor) {
    out = descriptor;
    seen.clear();
}

void violated(std::string_view check, std::string_view text) {
    {
        const std::lock_guard lock(mutex);
        auto it = seen.find(check);
        if (it == seen.end()) it = seen.emplace(check, 0).first;
        if (++it->second > texts_of_a_check) return;
    }
    put('V', check, text);
}

bool has_violated(std::string_view check) {
    const std::lock_guard lock(mutex);
    return seen.find(check) != seen.end();
}

bool any_violated() {
    const std::lock_guard lock(mutex);
    return !seen.empty();
}

void note(std::string_view text) { put('N', text, ""); }
void skipped(std::string_view reason) { put('S', reason, ""); }
void blocked(std::string_view check, std::string_view reason) { put('B', check, reason); }
void ended() { put('E', "", ""); }

void write_raw(char kind, const char* first, const char* second) noexcept {
    char line[2048];
    std::size_t n = 0;
    const auto add = [&](const char* s) {
        for (; *s != 0 && n < sizeof line - 2; ++s) line[n++] = *s == '\n' || *s == '\t' || *s == '\\' ? ' ' : *s;
    };
    line[n++] = kind;
    line[n++] = '\t';
    add(first);
    if (n < sizeof line - 2) line[n++] = '\t';
    add(second);
    line[n++] = '\n';
    (void)!::write(out, line, n);
}

record read(int descriptor) {
    std::string all;
    char buffer[8192];
    off_t at = 0;
    for (ssize_t n; (n = ::pread(descriptor, buffer, sizeof buffer, at)) > 0; at += n) all.append(buffer, static_cast<std::size_t>(n));
    record r;
    std::string_view rest = all;
    while (!rest.empty()) {
        const auto end = std::min(rest.find('\n'), rest.size());
        const auto line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const auto tab = line.find('\t');
        if (tab != 1) continue;
        const auto second = std::min(line.find('\t', 2), line.size());
        const std::string a = unescape(line.substr(2, second - 2));
        const std::string b = second < line.size() ? unescape(line.substr(second + 1)) : std::string();
        switch (line[0]) {
            case 'T': r.trapped = true; [[fallthrough]];
            case 'V': r.violations.push_back({a, b}); break;
            case 'N': r.notes.push_back(a); break;
            case 'S': r.skipped = a; break;
            case 'B': r.blocked_by = a; r.blocked = b; break;
            case 'C': r.crash = a; break;
            case 'E': r.ended = true; break;
            default: break;
        }
    }
    return r;
}

}  // namespace recorder

namespace progress {
namespace {

page* the_page = nullptr;
thread_local slot* mine = nullptr;
thread_local slot spare{};

void copy(char* to, std::size_t size, std::string_view from) noexcept {
    const std::size_t n = std::min(from.size(), size - 1);
    std::memcpy(to, from.data(), n);
    to[n] = 0;
}

}  // namespace

page& shared() {
    if (the_page == nullptr) {
        void* p = ::mmap(nullptr, sizeof(page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) throw std::runtime_error("no memory for the page shared with the tests");
        the_page = static_cast<page*>(p);
    }
    return *the_page;
}

void clear() {
    std::memset(static_cast<void*>(&shared()), 0, sizeof(page));
    mine = nullptr;
}

void name_thread(std::string_view name) {
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    if (mine == nullptr)
        for (auto& s : shared().threads)
            if (s.thread[0] == 0) {
                mine = &s;
                break;
            }
    if (mine == nullptr) mine = &spare;
    copy(mine->thread, sizeof mine->thread, name);
}

const char* current() noexcept { return mine == nullptr ? "" : mine->call; }

std::string in_calls() {
    std::string out;
    for (const auto& s : shared().threads)
        if (s.call[0] != 0) out += (out.empty() ? "" : ", ") + std::string(s.call) + "() on " + s.thread;
    return out;
}

call::call(const char* function) noexcept {
    if (mine == nullptr) mine = &spare;
    std::memcpy(before_, mine->call, sizeof before_);
    copy(mine->call, sizeof mine->call, function);
}
call::~call() { std::memcpy(mine->call, before_, sizeof before_); }

}  // namespace progress
}  // namespace callgate::check
