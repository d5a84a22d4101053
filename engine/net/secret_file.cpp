// SPDX-License-Identifier: Apache-2.0
#include "engine/net/secret_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace callgate::net {
namespace {

struct open_file {
    int fd = -1;
    ~open_file() {
        if (fd >= 0) ::close(fd);
    }
};

error system_error(const std::string& path, const char* what) {
    const int e = errno;
    return make_error(e == ENOENT ? errc::not_found : e == EACCES ? errc::permission : errc::unavailable,
                      std::string(what) + ": " + std::strerror(e), path);
}

// Reads exactly `size` bytes; a file that grows or shrinks meanwhile is being written.
result<void> read_exactly(int fd, void* out, std::size_t size, const std::string& path) {
    auto* p = static_cast<char*>(out);
    std::size_t have = 0;
    while (have < size) {
        const auto n = ::read(fd, p + have, size - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return system_error(path, "cannot read");
        if (n == 0) return make_error(errc::unavailable, "file shrank while it was read; it is being replaced, try again", path);
        have += static_cast<std::size_t>(n);
    }
    return {};
}

result<std::size_t> open_checked(open_file& f, const std::string& path, std::size_t max, bool secret) {
    // O_NONBLOCK: a fifo in place of the file must not hang the thread; it is refused below.
    f.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f.fd < 0) return system_error(path, "cannot open");
    struct stat st {};
    if (::fstat(f.fd, &st) != 0) return system_error(path, "cannot stat");
    if (!S_ISREG(st.st_mode)) return make_error(errc::invalid, "not a regular file", path);
    if (secret && (st.st_mode & 0066) != 0) {
        char mode[8];
        std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(st.st_mode & 07777));
        return make_error(errc::permission, std::string("file mode ") + mode + " lets others read or write this secret; chmod 600", path);
    }
    if (st.st_size == 0) return make_error(errc::invalid, "file is empty", path);
    if (static_cast<std::uint64_t>(st.st_size) > max)
        return make_error(errc::invalid, "file has " + std::to_string(st.st_size) + " bytes, at most " + std::to_string(max) + " are read", path);
    return static_cast<std::size_t>(st.st_size);
}

}  // namespace

result<crypto::secret> read_secret_file(const std::string& path, std::size_t max) {
    open_file f;
    auto size = open_checked(f, path, max, true);
    if (!size) return size.error();
    crypto::secret out(*size);
    if (auto r = read_exactly(f.fd, out.data(), *size, path); !r) return r.error();
    return out;
}

result<std::string> read_public_file(const std::string& path, std::size_t max) {
    open_file f;
    auto size = open_checked(f, path, max, false);
    if (!size) return size.error();
    std::string out(*size, '\0');
    if (auto r = read_exactly(f.fd, out.data(), *size, path); !r) return r.error();
    return out;
}

}  // namespace callgate::net
