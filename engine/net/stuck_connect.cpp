// SPDX-License-Identifier: Apache-2.0
#include "engine/net/stuck_connect.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <vector>

namespace callgate::net {
namespace {

// The inode names the socket whatever descriptor is asked, also after a dup().
struct adopted_set {
    std::mutex mutex;
    std::set<ino_t> inodes;
};
adopted_set& adopted() {
    static auto* set = new adopted_set;  // outlives threads that still close at exit
    return *set;
}

bool same_peer(const sockaddr_storage& a, const sockaddr_storage& b) {
    if (a.ss_family != b.ss_family) return false;
    if (a.ss_family == AF_INET) {
        const auto& x = reinterpret_cast<const sockaddr_in&>(a);
        const auto& y = reinterpret_cast<const sockaddr_in&>(b);
        return x.sin_port == y.sin_port && x.sin_addr.s_addr == y.sin_addr.s_addr;
    }
    if (a.ss_family == AF_INET6) {
        const auto& x = reinterpret_cast<const sockaddr_in6&>(a);
        const auto& y = reinterpret_cast<const sockaddr_in6&>(b);
        return x.sin6_port == y.sin6_port && std::memcmp(&x.sin6_addr, &y.sin6_addr, sizeof x.sin6_addr) == 0;
    }
    return false;
}

bool silent_client_of(int fd, const sockaddr_storage& peer, std::uint32_t silent_ms) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || !same_peer(address, peer)) return false;
    tcp_info info{};
    size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
    return info.tcpi_last_data_recv >= silent_ms;
}

}  // namespace

void adopt_socket(int fd) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) return;
    const std::scoped_lock lock(adopted().mutex);
    adopted().inodes.insert(st.st_ino);
}

void forget_socket(int fd) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) return;
    const std::scoped_lock lock(adopted().mutex);
    adopted().inodes.erase(st.st_ino);
}

int abort_stuck_connects(const sockaddr_storage& peer, std::uint32_t silent_ms) {
    DIR* dir = ::opendir("/proc/self/fd");
    if (!dir) return 0;
    std::vector<int> numbers;
    while (const dirent* entry = ::readdir(dir))
        if (entry->d_name[0] != '.') numbers.push_back(std::atoi(entry->d_name));
    ::closedir(dir);
    int aborted = 0;
    for (const int number : numbers) {
        // A descriptor of our own pins the socket: the number may be closed and given away meanwhile.
        const int fd = ::fcntl(number, F_DUPFD_CLOEXEC, 0);
        if (fd < 0) continue;
        struct stat st {};
        bool stuck = ::fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && silent_client_of(fd, peer, silent_ms);
        if (stuck) {
            const std::scoped_lock lock(adopted().mutex);
            stuck = !adopted().inodes.contains(st.st_ino);
        }
        if (stuck && ::shutdown(fd, SHUT_RDWR) == 0) ++aborted;
        ::close(fd);
    }
    return aborted;
}

}  // namespace callgate::net
