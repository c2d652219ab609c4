/* number.c - see number.h. Hot: one call for each float cell of the log. */
#include "common/feature/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const char NOT_A_NUMBER[] = "not a number";
static const char NOT_FINITE[] = "not a finite number";
static const char TOO_LARGE[] = "magnitude above 1e30";

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

struct decimal {
    uint64_t digits; /* the significant digits read as an integer */
    int used;        /* how many of them */
    int exponent;    /* value = digits * 10^exponent */
    bool any;        /* a digit was seen at all */
};

static const char *take_digits(const char *p, const char *end, struct decimal *d, bool fraction)
{
    for (; p < end && is_digit(*p); p++) {
        d->any = true;
        if (d->used < 19) {
            d->digits = d->digits * 10 + (uint64_t)(*p - '0');
            d->used += d->digits != 0;
            d->exponent -= fraction;
        } else {
            d->used = 20; /* more than fits: the slow path decides */
        }
    }
    return p;
}

static bool word_is(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(end - p) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((p[i] | 0x20) != word[i])
            return false;
    return true;
}

/* Not a decimal number: say whether it is one of the words that strtod would take. */
static const char *refuse(const char *p, const char *end)
{
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (word_is(p, end, "nan") || word_is(p, end, "inf") || word_is(p, end, "infinity"))
        return NOT_FINITE;
    return NOT_A_NUMBER;
}

/* The syntax was checked: only decimal digits, signs, one point, one exponent. */
static double slow(const char *cell, size_t n)
{
    char text[NUMBER_TEXT_MAX + 1];
    memcpy(text, cell, n);
    text[n] = 0;
    return strtod(text, NULL);
}

const char *number_parse(const char *cell, size_t n, double *out)
{
    const char *p = cell, *end = cell + n;
    struct decimal d = {0, 0, 0, false};
    bool negative = false;
    int e = 0;
    if (n > NUMBER_TEXT_MAX)
        return "a number of more than 400 characters";
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    p = take_digits(p, end, &d, false);
    if (p < end && *p == '.')
        p = take_digits(p + 1, end, &d, true);
    if (!d.any)
        return refuse(cell, end);
    if (p < end && (*p | 0x20) == 'e') {
        bool minus = false;
        p++;
        if (p < end && (*p == '-' || *p == '+'))
            minus = *p++ == '-';
        if (p == end)
            return NOT_A_NUMBER;
        for (; p < end && is_digit(*p); p++)
            if (e < 100000)
                e = e * 10 + (*p - '0');
        if (minus)
            e = -e;
    }
    if (p != end)
        return refuse(cell, end);
    e += d.exponent;
    double v;
    if (d.used <= 19 && d.digits <= (1ull << 53) && e >= -22 && e <= 22) {
        v = (double)d.digits;
        v = e < 0 ? v / POWERS[-e] : v * POWERS[e];
        if (negative)
            v = -v;
    } else {
        v = slow(cell, n);
    }
    if (!isfinite(v) || fabs(v) > NUMBER_MAX)
        return TOO_LARGE;
    *out = v;
    return NULL;
}

bool number_parse_u64(const char *cell, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)cell[i] - '0';
        if (digit > 9)
            return false;
        /* 19 digits always fit; only then is the product worth checking. */
        if (i >= 19 && (v > UINT64_MAX / 10 || v * 10 > UINT64_MAX - digit))
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* Exactly `digits` digits at *p, value within [low, high]. */
static bool take_part(const char **p, const char *end, int digits, int low, int high, int *out)
{
    int v = 0;
    if (end - *p < digits)
        return false;
    for (int i = 0; i < digits; i++) {
        if (!is_digit((*p)[i]))
            return false;
        v = v * 10 + ((*p)[i] - '0');
    }
    *p += digits;
    *out = v;
    return v >= low && v <= high;
}

static bool take_char(const char **p, const char *end, char c)
{
    if (*p == end || **p != c)
        return false;
    ++*p;
    return true;
}

/* Days since 1970-01-01 of a Gregorian date (H. Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_of(int y, int m, int d)
{
    int64_t year = m <= 2 ? y - 1 : y;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static bool take_zone(const char **p, const char *end, int64_t *out_seconds)
{
    int h = 0, m = 0;
    *out_seconds = 0;
    if (*p == end || take_char(p, end, 'Z'))
        return true;
    bool west = **p == '-';
    if (!west && **p != '+')
        return false;
    ++*p;
    if (!take_part(p, end, 2, 0, 23, &h))
        return false;
    (void)take_char(p, end, ':');
    if (!take_part(p, end, 2, 0, 59, &m))
        return false;
    *out_seconds = (west ? -60 : 60) * (int64_t)(h * 60 + m);
    return true;
}

/* [HH:MM[:SS[.fraction]]], in microseconds. */
static bool take_clock(const char **p, const char *end, int64_t *out_us)
{
    int h = 0, m = 0, s = 0;
    int64_t fraction = 0, unit = 100000;
    if (!take_part(p, end, 2, 0, 24, &h) || !take_char(p, end, ':'))
        return false;
    if (!take_part(p, end, 2, 0, 59, &m))
        return false;
    if (take_char(p, end, ':')) {
        if (!take_part(p, end, 2, 0, 60, &s))
            return false;
        if (take_char(p, end, '.'))
            for (; *p < end && is_digit(**p); ++*p, unit /= 10)
                fraction += unit * (**p - '0');
    }
    *out_us = ((int64_t)h * 3600 + m * 60 + s) * 1000000 + fraction;
    return true;
}

static bool parse_date(const char *cell, size_t n, int64_t *out_us)
{
    const char *p = cell, *end = cell + n;
    int y, m, d;
    int64_t clock = 0, zone = 0;
    if (!take_part(&p, end, 4, 0, 9999, &y) || !take_char(&p, end, '-'))
        return false;
    if (!take_part(&p, end, 2, 1, 12, &m) || !take_char(&p, end, '-'))
        return false;
    if (!take_part(&p, end, 2, 1, 31, &d))
        return false;
    if (p < end && (*p == ' ' || *p == 'T')) {
        p++;
        if (!take_clock(&p, end, &clock))
            return false;
    }
    if (!take_zone(&p, end, &zone) || p != end)
        return false;
    *out_us = (days_of(y, m, d) * 86400 - zone) * 1000000 + clock;
    return true;
}

const char *number_parse_time(const char *cell, size_t n, int64_t *out_us)
{
    double v;
    if (n >= 10 && cell[4] == '-' && parse_date(cell, n, out_us))
        return NULL;
    if (number_parse(cell, n, &v) != NULL)
        return "not a time (seconds, or YYYY-MM-DD HH:MM:SS)";
    double size = fabs(v);
    double us = size < 1e11 ? v * 1e6 : size < 1e14 ? v * 1e3 : size < 1e17 ? v : v / 1e3;
    if (fabs(us) > 9e18)
        return "a time out of range";
    *out_us = (int64_t)us;
    return NULL;
}
