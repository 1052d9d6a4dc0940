/* cpu.c - what the processor, the kernel and the container allow. Compiled with baseline flags. */
#define _GNU_SOURCE
#include "fastnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

const char *const fn_isa_names[FN_ISA_COUNT] = {"base", "avx2", "avx512", "amx"};

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t xgetbv0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

int fn_cpu_pairs(void)
{
    unsigned a, b, c, d;
    const unsigned avx512_bf16 = 1u << 5;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16) != 0;
}

/* Asks the kernel, once per process and before there are threads, to let it use tiles. */
static int tiles_permitted(void)
{
#if defined(FN_EMULATE_TILES)
    return 1;
#elif defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
    return 0;
#endif
}

static int detected_isa(int *tiles)
{
    unsigned a, b, c, d;
    *tiles = FN_TILES_NONE;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return FN_ISA_BASE;
    const unsigned fma = 1u << 12, movbe = 1u << 22, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    if ((c & (fma | movbe | osxsave | avx | f16c)) != (fma | movbe | osxsave | avx | f16c))
        return FN_ISA_BASE;
    const uint64_t state = xgetbv0(); /* what the kernel saves: 1,2 SSE and AVX; 5-7 AVX-512; 17,18 tiles */
    if ((state & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return FN_ISA_BASE;
    const unsigned bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;
    if ((b & (bmi1 | avx2 | bmi2)) != (bmi1 | avx2 | bmi2))
        return FN_ISA_BASE;
    const unsigned f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
    const unsigned all512 = f | dq | cd | bw | vl;
    if ((state & 0xe6) != 0xe6 || (b & all512) != all512)
        return FN_ISA_AVX2;
#if !defined(FN_EMULATE_TILES)
    const unsigned bf16 = 1u << 22, tile = 1u << 24;
    if ((d & (bf16 | tile)) != (bf16 | tile))
        return FN_ISA_AVX512;
    if ((state & 0x60000) != 0x60000) {
        *tiles = FN_TILES_REFUSED;
        return FN_ISA_AVX512;
    }
#endif
    if (!fn_cpu_pairs())
        return FN_ISA_AVX512;
    *tiles = tiles_permitted() ? FN_TILES_USABLE : FN_TILES_REFUSED;
    return *tiles == FN_TILES_USABLE ? FN_ISA_AMX : FN_ISA_AVX512;
}

void fn_cpu_name(char *out, size_t size)
{
    unsigned r[12];
    if (__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) {
        snprintf(out, size, "x86-64");
        return;
    }
    for (unsigned j = 0; j < 3; j++)
        __get_cpuid(0x80000002u + j, &r[4 * j], &r[4 * j + 1], &r[4 * j + 2], &r[4 * j + 3]);
    char name[sizeof r + 1];
    memcpy(name, r, sizeof r);
    name[sizeof r] = 0;
    snprintf(out, size, "%s", name + strspn(name, " "));
}
#else
int fn_cpu_pairs(void) { return 0; }
static int detected_isa(int *tiles)
{
    *tiles = FN_TILES_NONE;
    return FN_ISA_BASE;
}
void fn_cpu_name(char *out, size_t size)
{
#if defined(__APPLE__)
    if (sysctlbyname("machdep.cpu.brand_string", out, &size, NULL, 0) == 0)
        return;
#endif
    snprintf(out, size, "unknown");
}
#endif

static int isa_found = -1, tiles_found; /* set when the module is imported, by one thread */

int fn_cpu_isa(void)
{
    if (isa_found < 0)
        isa_found = detected_isa(&tiles_found);
    return isa_found;
}

int fn_cpu_tiles(void)
{
    fn_cpu_isa();
    return tiles_found;
}

#ifdef __linux__
static int read_line(const char *path, char *out, int size)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    int ok = fgets(out, size, f) != NULL;
    fclose(f);
    return ok;
}

/* Processors' worth of time that the container may use, rounded up; 0: no quota. */
static int quota(void)
{
    char line[256], path[512];
    long long max, period, best = 0;
    /* version 2: /proc/self/cgroup says "0::/path"; every ancestor may set a quota */
    if (read_line("/proc/self/cgroup", line, sizeof line) && strncmp(line, "0::", 3) == 0) {
        char *group = line + 3;
        group[strcspn(group, "\n")] = 0;
        for (;;) {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
            char text[64];
            if (read_line(path, text, sizeof text) && sscanf(text, "%lld %lld", &max, &period) == 2 && period > 0) {
                long long n = (max + period - 1) / period;
                if (n > 0 && (best == 0 || n < best))
                    best = n;
            }
            char *slash = strrchr(group, '/');
            if (!slash)
                break;
            *slash = 0;
        }
    }
    if (best == 0) { /* version 1, or a container whose own group is mounted at the root */
        if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line) &&
            sscanf(line, "%lld %lld", &max, &period) == 2 && period > 0)
            best = (max + period - 1) / period;
        else if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line) && (max = atoll(line)) > 0 &&
                 read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof line) && (period = atoll(line)) > 0)
            best = (max + period - 1) / period;
    }
    return best > 100000 ? 0 : (int)best;
}

int fn_cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int q = quota();
    if (q > 0 && q < n)
        n = q;
    return n < 1 ? 1 : n > FN_MAX_THREADS ? FN_MAX_THREADS : n;
}

int64_t fn_cpu_cache(int level)
{
    char path[128], text[64];
    for (int j = 0; j < 8; j++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", j);
        if (!read_line(path, text, sizeof text))
            break;
        if (atoi(text) != level)
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", j);
        if (!read_line(path, text, sizeof text) || text[0] == 'I')
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", j);
        if (!read_line(path, text, sizeof text))
            continue;
        char *unit;
        int64_t n = strtoll(text, &unit, 10);
        return n * (*unit == 'K' ? 1024 : *unit == 'M' ? 1024 * 1024 : 1);
    }
    return 0;
}
#else
int fn_cpu_count(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > FN_MAX_THREADS ? FN_MAX_THREADS : (int)n;
}
int64_t fn_cpu_cache(int level)
{
#if defined(__APPLE__)
    const char *key = level == 1 ? "hw.l1dcachesize" : level == 2 ? "hw.l2cachesize" : "hw.l3cachesize";
    int64_t bytes = 0;
    size_t size = sizeof bytes;
    return sysctlbyname(key, &bytes, &size, NULL, 0) == 0 ? bytes : 0;
#else
    (void)level;
    return 0;
#endif
}
#endif
