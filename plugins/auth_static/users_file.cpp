// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/users_file.hpp"

#include <callgate/crypto/hash.hpp>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sodium.h>
#include <tuple>
#include <unistd.h>

namespace callgate::auth_static {
namespace {

struct descriptor {
    int fd;
    ~descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

file_stamp stamp_from(const struct stat& st) {
    const auto ns = [](const timespec& t) { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
    return {ns(st.st_mtim), ns(st.st_ctim), static_cast<std::uint64_t>(st.st_size), st.st_ino, st.st_dev};
}

[[noreturn]] void refuse(cg_status code, const std::string& path, const std::string& why) { throw sdk::status_error(code, why, path); }

}  // namespace

user_table::user_table(std::vector<user_entry> users) : size_(users.size()) {
    randombytes_buf(salt_.data(), salt_.size());
    std::map<std::tuple<hash_kind, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>, std::pair<std::size_t, entry_ptr>> costs;
    for (auto& u : users) {
        const auto entry = std::make_shared<const user_entry>(std::move(u));
        if (!by_user_.emplace(entry->user, entry).second)
            throw sdk::status_error(CG_E_INVALID, "user \"" + entry->user + "\" stands there twice");
        for (const auto& n : entry->nkeys)
            if (!by_nkey_.emplace(n, entry).second) throw sdk::status_error(CG_E_INVALID, "nkey " + n + " stands there twice");
        for (const auto& t : entry->tokens) {
            const auto slot = slot_of(t);
            for (auto [i, end] = by_token_.equal_range(slot); i != end; ++i)
                if (i->second.sha256 == t)
                    throw sdk::status_error(CG_E_INVALID, "user \"" + entry->user + "\" has a token that stands there twice");
            by_token_.emplace(slot, token_slot{t, entry});
        }
        if (const auto& p = entry->password) {
            auto& [count, example] = costs[{p->kind, p->memory_kib, p->passes, p->lanes, p->cost}];
            ++count;
            hash_memory_bytes_ = std::max(hash_memory_bytes_, memory_for(*p));
            example = entry;
        }
    }
    std::size_t most = 0;
    for (const auto& [cost, seen] : costs) {
        if (seen.first <= most) continue;
        most = seen.first;
        unmatchable_ = unmatchable_like(*seen.second->password);
    }
}

entry_ptr user_table::by_user(std::string_view user) const {
    const auto i = by_user_.find(user);
    return i == by_user_.end() ? nullptr : i->second;
}

entry_ptr user_table::by_nkey(std::string_view nkey) const {
    const auto i = by_nkey_.find(nkey);
    return i == by_nkey_.end() ? nullptr : i->second;
}

// Keyed, so that nobody who measures how long a lookup takes can steer where it lands.
std::uint64_t user_table::slot_of(const digest& sha256) const {
    std::array<std::uint8_t, 64> in{};
    std::copy(salt_.begin(), salt_.end(), in.begin());
    std::copy(sha256.begin(), sha256.end(), in.begin() + 32);
    const auto h = crypto::sha256(in);
    std::uint64_t slot = 0;
    std::memcpy(&slot, h.data(), sizeof slot);
    return slot;
}

entry_ptr user_table::by_token(std::string_view token) const {
    const auto sha256 = crypto::sha256(token);
    for (auto [i, end] = by_token_.equal_range(slot_of(sha256)); i != end; ++i)
        if (sodium_memcmp(i->second.sha256.data(), sha256.data(), sha256.size()) == 0) return i->second.entry;
    return nullptr;
}

std::optional<file_stamp> stamp_of(const std::string& path) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) return std::nullopt;
    return stamp_from(st);
}

std::string file_fault(const struct stat& st, uid_t self) {
    if (!S_ISREG(st.st_mode)) return "not a regular file";
    if ((st.st_mode & S_IWOTH) != 0) return "everybody can write to it; run chmod o-w and check who is in it";
    if (st.st_uid != 0 && st.st_uid != self)
        return "it belongs to user " + std::to_string(st.st_uid) + "; the owner must be root or the user callgate runs as";
    if (st.st_size > static_cast<off_t>(max_users_file_bytes)) return "larger than 16 MiB";
    return {};
}

loaded_users load_users(const std::string& path) {
    const descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (d.fd < 0) {
        const int error = errno;
        const bool lasting = error == EACCES || error == EPERM || error == ELOOP;
        refuse(error == ENOENT ? CG_E_NOT_FOUND : lasting ? CG_E_PERMISSION : CG_E_UNAVAILABLE, path, std::string("cannot open the users file: ") + std::strerror(error));
    }
    struct stat before {};
    if (::fstat(d.fd, &before) != 0) refuse(CG_E_UNAVAILABLE, path, std::string("cannot examine the users file: ") + std::strerror(errno));
    if (const auto fault = file_fault(before, ::geteuid()); !fault.empty()) refuse(CG_E_PERMISSION, path, "users file refused: " + fault);

    std::string text(static_cast<std::size_t>(before.st_size) + 1, '\0');
    std::size_t have = 0;
    while (have < text.size()) {
        const ssize_t n = ::read(d.fd, text.data() + have, text.size() - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) refuse(CG_E_UNAVAILABLE, path, std::string("cannot read the users file: ") + std::strerror(errno));
        if (n == 0) break;
        have += static_cast<std::size_t>(n);
    }
    struct stat after {};
    if (::fstat(d.fd, &after) != 0 || stamp_from(after) != stamp_from(before) || have != static_cast<std::size_t>(before.st_size))
        refuse(CG_E_UNAVAILABLE, path, "the users file changed while it was read");
    text.resize(have);

    loaded_users out;
    try {
        out.table = std::make_unique<const user_table>(parse_users(text, path));
    } catch (const sdk::status_error& e) {
        if (!e.where().empty()) throw;
        refuse(e.code(), path, e.what());
    }
    out.stamp = stamp_from(before);
    if ((before.st_mode & 077) != 0) out.warning = "group or others have access to the users file; 0600 is enough";
    return out;
}

}  // namespace callgate::auth_static
