// SPDX-License-Identifier: Apache-2.0
#include "plugins/key_file/seed_file.hpp"

#include <callgate/nats/creds.hpp>
#include <callgate/sdk/value.hpp>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace callgate::key_file {
namespace {

struct descriptor {
    int fd;
    ~descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

[[noreturn]] void refuse(cg_status code, const std::string& label, const std::string& path, const std::string& why) {
    throw sdk::status_error(code, "key \"" + label + "\", file " + path + ": " + why, "files." + label);
}

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace

std::string file_fault(const struct stat& st, uid_t self) {
    if (!S_ISREG(st.st_mode)) return "not a regular file";
    if ((st.st_mode & 077) != 0) return "group or others have access to it; run chmod 600 and consider the key disclosed";
    if (st.st_uid != 0 && st.st_uid != self)
        return "it belongs to user " + std::to_string(st.st_uid) + "; the owner must be root or the user callgate runs as";
    if (st.st_size > static_cast<off_t>(max_seed_file_bytes)) return "larger than 64 KiB, so not a seed file";
    return {};
}

nats::key_pair read_seed_file(const std::string& label, const std::string& path) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    const descriptor d{::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (d.fd < 0) {
        const int error = errno;
        if (error == ELOOP) refuse(CG_E_PERMISSION, label, path, "a symbolic link; name the file itself");
        refuse(error == ENOENT ? CG_E_NOT_FOUND : CG_E_PERMISSION, label, path, std::string("cannot open it: ") + std::strerror(error));
    }
    struct stat st {};
    if (::fstat(d.fd, &st) != 0) refuse(CG_E_PERMISSION, label, path, std::string("cannot examine it: ") + std::strerror(errno));
    // On the open descriptor: the name may point elsewhere a moment later.
    if (const auto fault = file_fault(st, ::geteuid()); !fault.empty()) refuse(CG_E_PERMISSION, label, path, fault);

    // One byte more than fstat said: a file that grew meanwhile shows itself.
    crypto::secret content(static_cast<std::size_t>(st.st_size) + 1);
    std::size_t have = 0;
    while (have < content.size()) {
        const ssize_t n = ::read(d.fd, content.data() + have, content.size() - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) refuse(CG_E_UNAVAILABLE, label, path, std::string("cannot read it: ") + std::strerror(errno));
        if (n == 0) break;
        have += static_cast<std::size_t>(n);
    }
    if (have == content.size()) refuse(CG_E_UNAVAILABLE, label, path, "it changed while it was read; try again");

    const std::string_view text = trimmed(content.text().substr(0, have));
    if (text.empty()) refuse(CG_E_INVALID, label, path, "it is empty");
    auto key = text.find('-') == std::string_view::npos ? nats::key_pair::from_seed(text)
                                                        : nats::parse_decorated_nkey(content.text().substr(0, have));
    if (!key) refuse(CG_E_INVALID, label, path, "no usable seed in it: " + key.error().text);
    return std::move(*key);
}

}  // namespace callgate::key_file
