/* tiles.h - the eight tile registers of AMX: 16 rows of 64 bytes each, here always used whole.
 *
 * The instructions are written out because their intrinsics cannot be inlined into functions compiled without the set.
 * They may only be run where fn_cpu_isa() gives FN_ISA_AMX. With FN_EMULATE_TILES plain C does the same, so that what is
 * built on tiles can be tested on any processor with AVX512_BF16.
 */
#ifndef FN_TILES_H
#define FN_TILES_H

enum { TILE_ROWS = 16, TILE_PAIRS = 16 };

#ifdef FN_EMULATE_TILES
static _Thread_local float tile_registers[8][TILE_ROWS][16] __attribute__((unused));
FN_INLINE void tiles_begin(void) { memset(tile_registers, 0xFF, sizeof tile_registers); }
FN_INLINE void tiles_end(void) {}
FN_INLINE void tile_dot(int c, int a, int b)
{
    for (int m = 0; m < TILE_ROWS; m++)
        for (int k = 0; k < TILE_PAIRS; k++)
            for (int half = 0; half < 2; half++) { /* the lower half first */
                const uvec x = (uvec)vset1_bits(&tile_registers[a][m][k]), y = (uvec)vload(tile_registers[b][k]);
                const vec f = (vec)(half ? x & 0xFFFF0000u : x << 16), g = (vec)(half ? y & 0xFFFF0000u : y << 16);
                vstore(tile_registers[c][m], vload(tile_registers[c][m]) + f * g);
            }
}
#define TILE_ZERO(t) memset(tile_registers[t], 0, sizeof tile_registers[t])
#define TILE_LOAD(t, p, stride) \
    for (int row = 0; row < TILE_ROWS; row++) memcpy(tile_registers[t][row], (const char *)(p) + row * (stride), 64)
#define TILE_STORE(t, p, stride) \
    for (int row = 0; row < TILE_ROWS; row++) memcpy((char *)(p) + row * (stride), tile_registers[t][row], 64)
#define TILE_DOT(c, a, b) tile_dot(c, a, b)
#else
FN_INLINE void tiles_begin(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        shape.bytes[t] = 64;
        shape.rows[t] = TILE_ROWS;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(shape));
}
FN_INLINE void tiles_end(void) { __asm__ volatile("tilerelease"); }
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define TILE_LOAD(t, p, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(p), "r"((int64_t)(stride)) : "memory")
#define TILE_STORE(t, p, stride) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(p), "r"((int64_t)(stride)) : "memory")
/* c += a b: a holds rows of pairs of bfloat16 along k, b for each pair of k a row of pairs. */
#define TILE_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")
#endif

#endif
