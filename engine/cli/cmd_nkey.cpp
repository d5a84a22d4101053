// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_nkey.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <callgate/nats/nkey.hpp>
#include <cerrno>
#include <cstring>
#include <optional>
#include <ostream>

namespace callgate::cli {
namespace {

std::optional<nats::key_type> kind_of(const std::string& text) {
    using nats::key_type;
    for (const auto t : {key_type::operator_, key_type::account, key_type::user, key_type::server, key_type::cluster, key_type::curve})
        if (nats::to_string(t) == text) return t;
    return std::nullopt;
}

result<void> write_seed(const std::string& file, const crypto::secret& seed) {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        if (errno == EEXIST) return make_error(errc::invalid, "is there already and is never overwritten; name another file", file);
        return make_error(errc::permission, std::string("cannot make the file: ") + std::strerror(errno), file);
    }
    crypto::secret line(seed.size() + 1);
    std::memcpy(line.data(), seed.data(), seed.size());
    line.data()[seed.size()] = '\n';
    std::size_t done = 0;
    int failed = ::fchmod(fd, 0600) == 0 ? 0 : errno;
    while (!failed && done < line.size()) {
        const ssize_t n = ::write(fd, line.data() + done, line.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) failed = errno;
        else done += static_cast<std::size_t>(n);
    }
    if (!failed && ::fsync(fd) != 0) failed = errno;
    if (::close(fd) != 0 && !failed) failed = errno;
    if (failed) {
        ::unlink(file.c_str());
        return make_error(errc::unavailable, std::string("cannot write the seed: ") + std::strerror(failed), file);
    }
    return {};
}

}  // namespace

result<void> run_nkey_gen(const std::string& kind, const std::string& file, bool seed_to_stdout, std::ostream& out, std::ostream& err) {
    const auto type = kind_of(kind);
    if (!type) return make_error(errc::invalid, "\"" + kind + "\" is no kind of key: operator, account, user, server, cluster or curve");
    if (file.empty() == !seed_to_stdout)
        return make_error(errc::invalid, "say where the seed goes: either --out FILE or --stdout");
    const auto pair = nats::key_pair::generate(*type);
    const auto seed = pair.seed_text();
    if (seed_to_stdout) {
        out << seed.text() << '\n' << std::flush;
        err << pair.public_text() << '\n';
        return out ? result<void>{} : make_error(errc::unavailable, "cannot write to standard output");
    }
    if (auto ok = write_seed(file, seed); !ok) return ok;
    out << pair.public_text() << '\n';
    return {};
}

}  // namespace callgate::cli
