// Faults of disk and clock, in a program that is not rebuilt for them: loaded with LD_PRELOAD.
//
// The file that SQUELCH_FAULTS names is mapped; what stands in it counts at once. Disk faults meet
// only files below SQUELCH_FAULTS_PATH, and only the C library's calls, which are SQLite's.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The same fields, in the same order, as in `Faults` of shim.rs.
static volatile struct faults {
    int64_t wall_offset_s;
    int64_t sync_errno;
    int64_t write_errno;
    int64_t sync_delay_ms;
    int64_t met;
    int64_t clock_patched;
    int64_t lookups;
} *faults;
static const char *below;

// Called in place of the vDSO's function: a library that reads the clock without the C library
// is reached by nothing else.
static long shifted_clock(clockid_t clock, struct timespec *time) {
    register long result __asm__("rax") = SYS_clock_gettime;
    register long a __asm__("rdi") = clock;
    register void *b __asm__("rsi") = time;
    __asm__ volatile("syscall" : "+r"(result) : "r"(a), "r"(b) : "rcx", "r11", "memory");
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += faults->wall_offset_s;
    return result;
}

static void patch_clock(void) {
#ifdef __x86_64__
    char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
    if (!vdso) return;
    Elf64_Ehdr *head = (Elf64_Ehdr *)vdso;
    Elf64_Phdr *parts = (Elf64_Phdr *)(vdso + head->e_phoff);
    Elf64_Dyn *dynamic = NULL;
    char *base = vdso;
    size_t length = 4096;
    for (int i = 0; i < head->e_phnum; i++) {
        if (parts[i].p_type == PT_DYNAMIC) dynamic = (Elf64_Dyn *)(vdso + parts[i].p_offset);
        if (parts[i].p_type == PT_LOAD) {
            base = vdso - parts[i].p_vaddr + parts[i].p_offset;
            length = (parts[i].p_memsz + 4095) & ~4095ul;
        }
    }
    if (!dynamic) return;
    Elf64_Sym *symbols = NULL;
    const char *names = NULL;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB) symbols = (Elf64_Sym *)(base + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB) names = base + dynamic->d_un.d_ptr;
    }
    if (!symbols || !names) return;
    // The names follow the symbols.
    size_t count = ((char *)names - (char *)symbols) / sizeof *symbols;
    if (mprotect(vdso, length, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) return;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names + symbols[i].st_name, "__vdso_clock_gettime") != 0) continue;
        // movabs rax, shifted_clock; jmp rax
        unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
        void *to = (void *)shifted_clock;
        memcpy(jump + 2, &to, sizeof to);
        memcpy(base + symbols[i].st_value, jump, sizeof jump);
        faults->clock_patched = 1;
    }
    mprotect(vdso, length, PROT_READ | PROT_EXEC);
#endif
}

__attribute__((constructor)) static void map(void) {
    const char *path = getenv("SQUELCH_FAULTS");
    below = getenv("SQUELCH_FAULTS_PATH");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0 || !below) return;
    void *mapped = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return;
    faults = mapped;
    patch_clock();
}

static int meets(int file) {
    char link[32], path[4096];
    if (!faults) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, below, strlen(below)) == 0;
}

static int fails(int64_t number) {
    if (number == 0) return 0;
    faults->met++;
    errno = (int)number;
    return 1;
}

static int sync_fails(int file) {
    if (!meets(file)) return 0;
    if (faults->sync_delay_ms > 0) {
        faults->met++;
        struct timespec wait = {faults->sync_delay_ms / 1000, faults->sync_delay_ms % 1000 * 1000000};
        nanosleep(&wait, NULL);
    }
    return fails(faults->sync_errno);
}

int fsync(int file) {
    return sync_fails(file) ? -1 : (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    return sync_fails(file) ? -1 : (int)syscall(SYS_fdatasync, file);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    if (meets(file) && fails(faults->write_errno)) return -1;
    return syscall(SYS_pwrite64, file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    return pwrite64(file, bytes, length, at);
}

// A resolver that never answers, for names below `hangs`.
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    size_t length = node ? strlen(node) : 0;
    if (faults && length > 6 && strcmp(node + length - 6, ".hangs") == 0) {
        __sync_fetch_and_add(&faults->lookups, 1);
        for (;;) pause();
    }
    if (!real) real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}

ssize_t write(int file, const void *bytes, size_t length) {
    if (meets(file) && fails(faults->write_errno)) return -1;
    return syscall(SYS_write, file, bytes, length);
}
