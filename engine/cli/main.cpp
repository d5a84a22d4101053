// SPDX-License-Identifier: Apache-2.0
// The executable's command line: the only place that includes CLI11. What a command does is in its cmd_ file.
#include <CLI/CLI.hpp>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "engine/cli/cmd_init.hpp"
#include "engine/cli/cmd_jwt.hpp"
#include "engine/cli/cmd_nkey.hpp"
#include "engine/cli/cmd_passwd.hpp"
#include "engine/cli/cmd_version.hpp"
#include "engine/cli/process.hpp"
#ifdef CALLGATE_CLI_HOST
#include "engine/cli/cmd_plugin.hpp"
#include "engine/cli/cmd_plugin_new.hpp"
#include "engine/host/probe.hpp"
#endif
#ifdef CALLGATE_CLI_CONFIG
#include "engine/cli/cmd_policy.hpp"
#endif
#ifdef CALLGATE_CLI_RUNTIME
#include "engine/cli/cmd_check.hpp"
#include "engine/cli/cmd_store.hpp"
#include "engine/runtime/serve.hpp"
#endif

namespace {

using namespace callgate;

constexpr int exit_ok = 0, exit_failure = 1, exit_usage = 2;

int status_of(const result<void>& outcome) {
    if (outcome) return exit_ok;
    std::cerr << "callgate: " << outcome.error().message() << '\n';
    return outcome.error().where.starts_with("--") ? exit_usage : exit_failure;
}

/// Values of the command line; they live as long as the parser, which writes into them.
struct arguments {
    std::string directory, file, cases, kind, out_file, mode, plugin;
    std::vector<std::string> issuers, directories;
#ifdef CALLGATE_CLI_HOST
    cli::plugin_new_request plugin_new;
#endif
#ifdef CALLGATE_CLI_RUNTIME
    cli::store_request store;
#endif
    bool to_stdout = false;
    cli::init_request init;
    cli::argon2_cost cost;
};

/// What was not given stays apart from what was given as the default.
template <class T>
void maybe(CLI::App* command, const char* name, std::optional<T>& target, const char* text) {
    // Without this a repeatable option would swallow the folder's name after it.
    command->add_option_function<T>(name, [&target](const T& value) { target = value; }, text)->allow_extra_args(false);
}

void add_init(CLI::App& app, arguments& a, int& status) {
    auto* c = app.add_subcommand("init", "make a deployment: keys, nats-server.conf, callgate.yaml, credentials. Run it again to\n"
                                         "complete one that was interrupted; it never overwrites a key");
    c->add_option("DIR", a.directory, "folder to make or complete")->required();
    maybe(c, "--mode", a.init.mode, "operator (JWTs, the default) or config (static accounts)");
    maybe(c, "--server-version", a.init.server_version, "version of your nats-server, 2.10 or newer; default 2.15");
    maybe(c, "--account", a.init.accounts, "account for clients, repeatable; default APP");
    maybe(c, "--listen", a.init.listen, "HOST:PORT of the server; default 127.0.0.1:4222");
    maybe(c, "--websocket", a.init.websocket, "HOST:PORT for WebSocket clients");
    maybe(c, "--mqtt", a.init.mqtt, "HOST:PORT for MQTT clients; switches JetStream on");
    maybe(c, "--monitor", a.init.monitor, "HOST:PORT of the server's monitoring pages");
    maybe(c, "--url", a.init.urls, "nats:// or tls:// URL callgate connects to, repeatable; default from --listen");
    maybe(c, "--plugins", a.init.plugins, "folder of callgate's plugins, repeatable");
    maybe(c, "--tls-cert", a.init.tls_cert, "the server's certificate (PEM)");
    maybe(c, "--tls-key", a.init.tls_key, "its key");
    maybe(c, "--tls-ca", a.init.tls_ca, "CA of both sides' certificates");
    maybe(c, "--tls-client-cert", a.init.tls_client_cert, "callgate's certificate; the server then asks every client for one");
    maybe(c, "--tls-client-key", a.init.tls_client_key, "its key");
    maybe(c, "--tls-server-name", a.init.tls_server_name, "name in the server's certificate, when it is not the host of the URL");
    maybe(c, "--max-control-line", a.init.max_control_line, "bytes of the longest CONNECT line; default 65536");
    maybe(c, "--auth-timeout", a.init.auth_timeout_s, "seconds a client waits for callgate; default 2");
    c->add_flag("--force-config", a.init.force_config, "write configuration and tokens anew, with other flags if given; the old files stay as NAME.previous");
    c->callback([&] { status = status_of(cli::run_init(a.directory, a.init, std::cout)); });
}

void add_tools(CLI::App& app, arguments& a, int& status) {
    auto* jwt = app.add_subcommand("jwt", "NATS JWTs")->require_subcommand(1);
    auto* decode = jwt->add_subcommand("decode", "show what a JWT or creds file says and whether it is valid; secrets are masked");
    a.file = "-";
    decode->add_option("FILE", a.file, "file, or - for standard input (the default)");
    decode->add_option("--issuer", a.issuers, "JWT of an operator or account that may have issued it, repeatable")->allow_extra_args(false);
    decode->callback([&] { status = status_of(cli::run_jwt_decode(a.file, a.issuers, std::cout)); });

    auto* nkey = app.add_subcommand("nkey", "NATS keys")->require_subcommand(1);
    auto* gen = nkey->add_subcommand("gen", "make a key pair and print its public key");
    gen->add_option("KIND", a.kind, "operator, account, user, server, cluster or curve")
        ->required()
        ->check(CLI::IsMember({"operator", "account", "user", "server", "cluster", "curve"}));
    gen->add_option("--out", a.out_file, "file for the seed: made with mode 0600, never overwritten");
    gen->add_flag("--stdout", a.to_stdout, "print the seed; the public key goes to standard error");
    gen->callback([&] {
        if (a.out_file.empty() == !a.to_stdout) throw CLI::ValidationError("nkey gen", "say where the seed goes: either --out FILE or --stdout");
        status = status_of(cli::run_nkey_gen(a.kind, a.out_file, a.to_stdout, std::cout, std::cerr));
    });

    auto* passwd = app.add_subcommand("passwd", "hash a password (terminal or standard input) for users.yaml of auth_static");
    passwd->add_option("--memory-kib", a.cost.memory_kib, "argon2id memory")->capture_default_str();
    passwd->add_option("--iterations", a.cost.iterations, "argon2id passes")->capture_default_str();
    passwd->callback([&] { status = status_of(cli::run_passwd(a.cost, std::cout)); });

    app.add_subcommand("version", "versions of callgate and its libraries")->callback([] { cli::run_version(std::cout); });
}

#ifdef CALLGATE_CLI_RUNTIME
void add_store(CLI::App& app, arguments& a, int& status) {
    using verb = cli::store_request::verb;
    auto* store = app.add_subcommand("store", "documents of a claim store, such as the grants a policy looks up")->require_subcommand(1);
    const auto add = [&](const char* name, const char* text, verb what) {
        auto* c = store->add_subcommand(name, text);
        c->add_option("--config", a.store.config_file, "callgate.yaml")->required();
        c->add_option("--store", a.store.store, "name under stores; default: the only one");
        auto* key = c->add_option(what == verb::scan ? "PREFIX" : "KEY", a.store.key, what == verb::scan ? "keys that begin so; default: all" : "such as grants/alice");
        if (what != verb::scan) key->required();
        if (what == verb::put) c->add_option("FILE", a.store.document_file, "the document; default: standard input");
        if (what == verb::put || what == verb::erase) maybe(c, "--at", a.store.at_revision, "only if the key has this revision; 0: only if it is absent");
        c->callback([&a, &status, what] {
            a.store.what = what;
            status = status_of(cli::run_store(a.store, std::cin, std::cout, std::cerr));
        });
    };
    add("get", "print a document", verb::get);
    add("put", "store a document under a key", verb::put);
    add("delete", "remove a key", verb::erase);
    add("scan", "list keys with revision and size", verb::scan);
}

void add_daemon(CLI::App& app, arguments& a, int& status) {
    auto* serve = app.add_subcommand("serve", "answer the callouts of nats-servers, in the foreground");
    serve->add_option("FILE", a.file, "callgate.yaml")->required();
    serve->callback([&] { status = runtime::serve(a.file); });

    auto* check = app.add_subcommand("check", "check a configuration, its plugins' parts too; contacts nobody");
    check->add_option("FILE", a.file, "callgate.yaml")->required();
    check->callback([&] { status = cli::run_check(a.file, std::cout, std::cerr); });
}
#endif

#ifdef CALLGATE_CLI_CONFIG
void add_policy(CLI::App& app, arguments& a, int& status) {
    auto* policy = app.add_subcommand("policy", "the policy of a configuration")->require_subcommand(1);
    auto* test = policy->add_subcommand("test", "run the policy's own cases, and those of a file of cases");
    test->add_option("FILE", a.file, "callgate.yaml")->required();
    test->add_option("CASES", a.cases, "YAML file with more cases (tests:)");
    test->callback([&] { status = cli::run_policy_test(a.file, a.cases, std::cout, std::cerr); });
}
#endif

#ifdef CALLGATE_CLI_HOST
void add_plugins(CLI::App& app, arguments& a, int& status) {
    const auto directories = [&a] {
#ifdef CALLGATE_CLI_RUNTIME
        if (a.directories.empty()) return runtime::default_plugin_directories();
#endif
        return a.directories;
    };
    auto* plugin = app.add_subcommand("plugin", "plugins")->require_subcommand(1);
    auto* list = plugin->add_subcommand("list", "what is in the plugin folders, without running it");
    list->add_option("--directory", a.directories, "folder, repeatable; default: beside the executable")->allow_extra_args(false);
    list->callback([&a, &status, directories] { status = cli::run_plugin_list(directories(), std::cout); });
    auto* inspect = plugin->add_subcommand("inspect", "load a plugin and show its manifest and the schema of its configuration");
    inspect->add_option("PLUGIN", a.plugin, "name, or path of a .so file")->required();
    inspect->add_option("--directory", a.directories, "folder, repeatable; default: beside the executable")->allow_extra_args(false);
    inspect->callback([&a, &status, directories] { status = status_of(cli::run_plugin_inspect(a.plugin, directories(), std::cout)); });

    auto* fresh = plugin->add_subcommand("new", "make a project that builds a plugin of your own with the installed SDK");
    fresh->add_option("NAME", a.plugin_new.name, "a-z, 0-9 and single _, such as auth_acme")->required();
    fresh->add_option("--lang", a.plugin_new.language, "c++ (the default) or c")->check(CLI::IsMember({"c++", "c"}));
    fresh->add_option("--dir", a.plugin_new.directory, "folder for it; default NAME. Nothing in it is overwritten");
    fresh->add_option("--template", a.plugin_new.templates, "folder of templates; default: the SDK's, seen from the executable");
    fresh->callback([&a, &status] { status = status_of(cli::run_plugin_new(a.plugin_new, std::cout)); });

    auto* probe = app.add_subcommand("plugin-probe", "")->group("");
    probe->add_option("FILE", a.file)->required();
    probe->callback([&a, &status] { status = host::run_plugin_probe(a.file.c_str()); });
}
#endif

}  // namespace

int main(int argc, char** argv) {
    cli::harden_process();
    arguments a;
    int status = exit_ok;
    CLI::App app("callgate: decides who gets into a NATS deployment", "callgate");
    app.require_subcommand(1);
    app.failure_message([](const CLI::App* at, const CLI::Error& e) {
        return "callgate: " + std::string(e.what()) + "\nSee " + at->get_name() + " --help.\n";
    });
    add_init(app, a, status);
    add_tools(app, a, status);
#ifdef CALLGATE_CLI_CONFIG
    add_policy(app, a, status);
#endif
#ifdef CALLGATE_CLI_RUNTIME
    add_daemon(app, a, status);
    add_store(app, a, status);
#endif
#ifdef CALLGATE_CLI_HOST
    add_plugins(app, a, status);
#endif
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? exit_ok : exit_usage;
    } catch (const std::exception& e) {
        std::cerr << "callgate: " << e.what() << '\n';
        return exit_failure;
    }
    std::cout.flush();
    if (!std::cout) {
        std::cerr << "callgate: cannot write to standard output\n";
        return exit_failure;
    }
    return status;
}
