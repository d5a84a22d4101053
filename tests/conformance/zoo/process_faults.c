/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "process_faults.h"

#include <dlfcn.h>
#include <fenv.h>
#include <link.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef ZOO_OPENSSL
#include <openssl/provider.h>
#endif

#include "fault.h"

static void* for_ever(void* nothing) {
    for (;;) pause();
    return nothing;
}
static void thread_for_ever(void) {
    pthread_t t;
    if (pthread_create(&t, NULL, for_ever, NULL) == 0) pthread_detach(t);
}

__attribute__((constructor)) void zoo_loaded(void) {
    if (FAULT("slow_constructor")) {
        struct timespec t = {0, 130000000};
        nanosleep(&t, NULL);
    }
    if (FAULT("thread_in_constructor")) thread_for_ever();
}

struct search {
    const void* me;
    int others;
};
static int look(struct dl_phdr_info* info, size_t size, void* ctx) {
    struct search* s = ctx;
    (void)size;
    if (info->dlpi_name != NULL && (strstr(info->dlpi_name, "only_one_copy") != NULL || strstr(info->dlpi_name, "callgate-check-") != NULL) &&
        (const void*)info->dlpi_addr != s->me)
        s->others++;
    return 0;
}

int zoo_entered(void) {
    if (FAULT("only_one_copy")) {
        Dl_info mine;
        struct search s = {NULL, 0};
        if (dladdr((const void*)(uintptr_t)zoo_entered, &mine) != 0) s.me = mine.dli_fbase;
        dl_iterate_phdr(look, &s);
        return s.others == 0;
    }
    return 1;
}

static void on_signal(int number) { (void)number; }

#ifdef ZOO_CURL
extern int curl_global_init(long flags);
#endif

void zoo_started(void) {
    if (FAULT("leaves_thread")) thread_for_ever();
    if (FAULT("umask")) umask(0077);
    if (FAULT("chdir") && chdir("/") != 0) abort();
    if (FAULT("setlocale")) setlocale(LC_ALL, "C.UTF-8");
    if (FAULT("signal_handler")) signal(SIGUSR1, on_signal);
    if (FAULT("setenv")) setenv("ZOO", "was here", 1);
    if (FAULT("rounding_mode")) fesetround(FE_TOWARDZERO);
    if (FAULT("forks")) {
        const pid_t child = fork();
        if (child == 0) _exit(0);
        waitpid(child, NULL, 0);
    }
#ifdef ZOO_OPENSSL
    if (FAULT("openssl_provider")) OSSL_PROVIDER_load(NULL, "null");
#endif
#ifdef ZOO_CURL
    if (FAULT("curl_global_init")) curl_global_init(3);
#endif
}
