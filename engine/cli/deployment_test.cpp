// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/deployment_test.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/support/process_watch.hpp"

namespace callgate::cli::test {
namespace {

namespace fs = std::filesystem;

bool accepts(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(port);
    const bool ok = ::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
    ::close(fd);
    return ok;
}

/// The child never sees another descriptor than these.
pid_t spawn(const std::vector<std::string>& command, int in, int out, int err) {
    std::vector<char*> args;
    for (const auto& a : command) args.push_back(const_cast<char*>(a.c_str()));
    args.push_back(nullptr);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(127);
        ::dup2(in, 0);
        ::dup2(out, 1);
        ::dup2(err, 2);
        ::execv(args[0], args.data());
        ::_exit(127);
    }
    return pid;
}

}  // namespace

std::string shape::name() const {
    return std::string(to_string(mode)) + (server == callgate::test::server_version::v2_10 ? "_2_10" : "_2_15");
}

const std::vector<shape>& all_shapes() {
    using callgate::test::server_version;
    static const std::vector<shape> shapes = {{deployment_mode::config, server_version::v2_10},
                                              {deployment_mode::config, server_version::v2_15},
                                              {deployment_mode::operator_, server_version::v2_10},
                                              {deployment_mode::operator_, server_version::v2_15}};
    return shapes;
}

init_request request_for(const shape& s, std::uint16_t port) {
    init_request r;
    r.mode = std::string(to_string(s.mode));
    r.server_version = std::string(callgate::test::to_string(s.server));
    r.listen = "127.0.0.1:" + std::to_string(port);
    r.auth_timeout_s = 1;
    return r;
}

std::map<std::string, std::string> snapshot(const std::string& dir) {
    std::map<std::string, std::string> out;
    for (const auto& e : fs::recursive_directory_iterator(dir))
        if (!e.is_directory()) out[fs::relative(e.path(), dir).string()] = slurp(e.path().string());
    return out;
}

std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

void spit(const std::string& path, const std::string& text, mode_t mode) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    if (::chmod(path.c_str(), mode) != 0) throw std::runtime_error("cannot chmod " + path);
}

deployed_server::deployed_server(callgate::test::server_version version, const std::string& config, std::uint16_t port) {
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int out = ::open(log_.file("log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    pid_ = spawn({callgate::test::server_binary(version), "-c", config}, null, out, out);
    ::close(null);
    ::close(out);
    // It writes a line to its log when it listens.
    callgate::test::process_watch watch(pid_, log_.path());
    const auto seen = watch.until([&] { return accepts(port); }, std::chrono::seconds(20));
    if (seen == callgate::test::process_watch::outcome::ready) return;
    const auto what = seen == callgate::test::process_watch::outcome::ended ? "nats-server ended:\n" : "nats-server does not listen:\n";
    const auto why = what + log();
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    throw std::runtime_error(why);
}

deployed_server::~deployed_server() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

command_result run_command(const std::vector<std::string>& command, const std::string& input) {
    const callgate::test::temp_dir files;
    spit(files.file("in"), input, 0600);
    const int in = ::open(files.file("in").c_str(), O_RDONLY | O_CLOEXEC);
    const int out = ::open(files.file("out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const int err = ::open(files.file("err").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const pid_t pid = spawn(command, in, out, err);
    for (const int fd : {in, out, err}) ::close(fd);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), slurp(files.file("out")), slurp(files.file("err"))};
}

}  // namespace callgate::cli::test
