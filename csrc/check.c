/* check.c - looks through a user's data before any work is done on it. */
#include "fastnn.h"

#define FIRST_OUTSIDE(type)                                                                   \
    {                                                                                         \
        const type *p = data;                                                                 \
        int bad = 0;                                                                          \
        for (int64_t j = 0; j < n; j++)                                                       \
            bad |= !((double)p[j] >= 0 && (double)p[j] < limit);                              \
        for (int64_t j = 0; bad && j < n; j++)                                                \
            if (!((double)p[j] >= 0 && (double)p[j] < limit))                                 \
                return j;                                                                     \
        return -1;                                                                            \
    }

int64_t fn_first_outside(const void *data, int kind, int64_t n, int64_t classes)
{
    const double limit = (double)classes;
    switch (kind) {
    case 0: case 7: FIRST_OUTSIDE(uint8_t)
    case 1: FIRST_OUTSIDE(int8_t)
    case 2: FIRST_OUTSIDE(int16_t)
    case 3: FIRST_OUTSIDE(int32_t)
    case 4: FIRST_OUTSIDE(int64_t)
    case 5: FIRST_OUTSIDE(float)
    case 6: FIRST_OUTSIDE(double)
    case 8: FIRST_OUTSIDE(uint16_t)
    default: FIRST_OUTSIDE(uint32_t)
    }
}

int64_t fn_first_not_finite(const void *data, int float64, int64_t n)
{
    /* x - x is 0 for finite numbers and NaN for all others */
    if (float64) {
        const double *p = data;
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += p[j] - p[j];
        for (int64_t j = 0; sum != 0 && j < n; j++)
            if (p[j] - p[j] != 0)
                return j;
        return -1;
    }
    const float *p = data;
    float sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum += p[j] - p[j];
    for (int64_t j = 0; sum != 0 && j < n; j++)
        if (p[j] - p[j] != 0)
            return j;
    return -1;
}
