/* wire_limits.c - every way an envelope can lie: each count, size, name and range at its bound and beyond. */
#include "tests/unit/wire_case.h"

#include <math.h>

/* A message of nothing but its kind's least, to be spoilt; and frames of these sizes behind it. */
struct envelope {
    Penstock__Envelope e;
    Penstock__Pull pull;
    Penstock__Push push;
    Penstock__Rows rows;
    Penstock__Lease lease;
    Penstock__Order order;
    Penstock__Schedule schedule;
    Penstock__WorkerState worker;
    Penstock__ShardState shard;
    uint64_t bytes[MSG_FRAMES_MAX + 1];
    uint8_t map[4];
};

static void envelope_init(struct envelope *x)
{
    memset(x, 0, sizeof *x);
    penstock__envelope__init(&x->e);
    penstock__pull__init(&x->pull);
    penstock__push__init(&x->push);
    penstock__rows__init(&x->rows);
    penstock__lease__init(&x->lease);
    penstock__order__init(&x->order);
    penstock__schedule__init(&x->schedule);
    penstock__worker_state__init(&x->worker);
    penstock__shard_state__init(&x->shard);
    x->e.version = WIRE_VERSION;
    x->e.role = ROLE_WORKER;
    x->e.frame_bytes = x->bytes;
    x->worker.world_size = 1;
    x->order.mode = MODE_RUN;
    x->order.schedule = &x->schedule;
    x->map[1] = BUCKETS >> 8;
    x->e.body_case = PENSTOCK__ENVELOPE__BODY_WORKER_STATE;
    x->e.worker_state = &x->worker;
}

static void use_pull(struct envelope *x)
{
    x->e.body_case = PENSTOCK__ENVELOPE__BODY_PULL;
    x->e.pull = &x->pull;
    x->e.n_frame_bytes = 1;
}

static void use_push(struct envelope *x)
{
    x->e.body_case = PENSTOCK__ENVELOPE__BODY_PUSH;
    x->e.push = &x->push;
    x->e.n_frame_bytes = 3;
}

static void use_order(struct envelope *x)
{
    x->e.body_case = PENSTOCK__ENVELOPE__BODY_ORDER;
    x->e.order = &x->order;
    x->e.role = ROLE_HEAD;
}

static void use_shard(struct envelope *x)
{
    x->e.body_case = PENSTOCK__ENVELOPE__BODY_SHARD_STATE;
    x->e.shard_state = &x->shard;
    x->e.role = ROLE_SHARD;
}

static enum status try(struct envelope *x)
{
    struct buffer env = BUFFER_INIT;
    size_t n = penstock__envelope__get_packed_size(&x->e);
    penstock__envelope__pack(&x->e, buffer_room(&env, n));
    enum status st = decode(env.data, n, x->bytes, x->e.n_frame_bytes);
    buffer_release(&env);
    return st;
}

static void accepted(struct envelope *x)
{
    if (try(x) != ST_OK)
        fail_msg("refused: %s", err.text);
}

static void refused(struct envelope *x, const char *why)
{
    assert_int_equal(try(x), ST_BAD_PEER);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", err.text, why);
}

static void test_head_of_an_envelope(void **state)
{
    (void)state;
    struct envelope x;
    envelope_init(&x);
    accepted(&x);
    x.e.version = WIRE_VERSION + 1;
    refused(&x, "wire version 2, this is 1");
    x.e.version = 0;
    refused(&x, "wire version 0");
    envelope_init(&x);
    x.e.body_case = PENSTOCK__ENVELOPE__BODY__NOT_SET;
    refused(&x, "without a body");
    envelope_init(&x);
    for (uint32_t role = 0; role < 300; role++) {
        x.e.role = role;
        if (role == ROLE_WORKER)
            accepted(&x);
        else
            refused(&x, "WORKER_STATE from role");
    }
    x.e.role = ROLE_WORKER;
    x.e.sender = WORKERS_MAX - 1;
    accepted(&x);
    x.e.sender = WORKERS_MAX;
    refused(&x, "number 65536");
}

static void test_limits_of_frames(void **state)
{
    (void)state;
    struct envelope x;
    envelope_init(&x);
    x.e.n_frame_bytes = 1;
    refused(&x, "frames where none belong");
    envelope_init(&x);
    use_pull(&x);
    x.pull.n = 1;
    x.bytes[0] = 8;
    accepted(&x);
    for (uint64_t n = 0; n < 20; n++) {
        x.bytes[0] = n;
        if (n != 8)
            refused(&x, "keys don't fit");
    }
    x.pull.n = WIRE_KEYS_MAX;
    x.bytes[0] = 8ull * WIRE_KEYS_MAX;
    accepted(&x);
    x.pull.n++;
    x.bytes[0] += 8;
    refused(&x, "keys don't fit");
    x.pull.n = 0x20000001; /* times 8 it would be 8, in 32 bits */
    x.bytes[0] = 8;
    refused(&x, "keys don't fit");
    x.e.n_frame_bytes = 2;
    x.pull.n = 1;
    refused(&x, "keys don't fit");

    envelope_init(&x);
    use_push(&x);
    accepted(&x);
    x.push.handle = 1;
    x.push.n = 7;
    accepted(&x); /* with a handle the keys stay at home */
    x.bytes[0] = 56;
    refused(&x, "keys don't fit");
    x.push.handle = 0;
    accepted(&x);
    x.bytes[1] = 10;
    refused(&x, "cut off");
    x.bytes[1] = WIRE_FRAME_MAX;
    accepted(&x);
    x.bytes[1] += 4;
    refused(&x, "frame 2 has 1073741828 bytes");
    x.bytes[1] = x.bytes[2] = WIRE_FRAME_MAX;
    refused(&x, "too many bytes");
    x.bytes[1] = x.bytes[2] = 0;
    x.e.n_frame_bytes = MSG_FRAMES_MAX;
    accepted(&x);
    x.e.n_frame_bytes++;
    refused(&x, "67 frames came");
    x.e.n_frame_bytes = 2;
    refused(&x, "out of range");

    envelope_init(&x);
    x.e.body_case = PENSTOCK__ENVELOPE__BODY_ROWS;
    x.e.rows = &x.rows;
    x.e.role = ROLE_SHARD;
    x.rows.n = WIRE_KEYS_MAX;
    accepted(&x);
    x.rows.n++;
    refused(&x, "too many keys");
}

/* Frames that came and frames that the envelope tells of. */
static void test_frames_and_envelope_differ(void **state)
{
    (void)state;
    struct envelope x;
    struct buffer env = BUFFER_INIT;
    envelope_init(&x);
    use_pull(&x);
    x.pull.n = 2;
    x.bytes[0] = 16;
    size_t n = penstock__envelope__get_packed_size(&x.e);
    penstock__envelope__pack(&x.e, buffer_room(&env, n));
    assert_int_equal(decode(env.data, n, (uint64_t[]){16}, 1), ST_OK);
    assert_int_equal(decode(env.data, n, NULL, 0), ST_BAD_PEER);
    assert_non_null(strstr(err.text, "0 frames came, the envelope tells 1"));
    assert_int_equal(decode(env.data, n, (uint64_t[]){16, 16}, 2), ST_BAD_PEER);
    assert_int_equal(decode(env.data, n, (uint64_t[]){8}, 1), ST_BAD_PEER);
    assert_non_null(strstr(err.text, "frame 1 has 8 bytes, the envelope tells 16"));
    buffer_release(&env);
}

static void test_texts(void **state)
{
    (void)state;
    struct envelope x;
    Penstock__Report report = PENSTOCK__REPORT__INIT;
    Penstock__Refused no = PENSTOCK__REFUSED__INIT;
    envelope_init(&x);
    x.e.body_case = PENSTOCK__ENVELOPE__BODY_REPORT;
    x.e.report = &report;
    x.e.role = ROLE_HEAD;
    refused(&x, "missing");
    x.e.n_frame_bytes = 1;
    x.bytes[0] = WIRE_TEXT_MAX;
    accepted(&x);
    x.bytes[0]++;
    refused(&x, "too long");
    x.e.body_case = PENSTOCK__ENVELOPE__BODY_REFUSED;
    x.e.refused = &no;
    x.bytes[0] = WIRE_REFUSED_MAX;
    for (uint32_t role = ROLE_HEAD; role <= ROLE_FOLLOWER; role++) {
        x.e.role = role; /* anybody may refuse */
        accepted(&x);
    }
    x.bytes[0]++;
    refused(&x, "too long");
    x.e.role = ROLE_FOLLOWER + 1;
    refused(&x, "from role 6");
}

static void test_limits_of_an_order(void **state)
{
    (void)state;
    static Penstock__Member member[SHARDS_MAX + 1], *members[SHARDS_MAX + 1];
    static Penstock__RateChange change[SCHEDULE_CHANGES_MAX + 1],
        *changes[SCHEDULE_CHANGES_MAX + 1];
    static char why[WHY_MAX + 1], address[ADDRESS_MAX + 1];
    struct envelope x;
    envelope_init(&x);
    use_order(&x);
    accepted(&x); /* no members: the head gathers, and there is no map */
    x.order.schedule = NULL;
    accepted(&x);
    for (uint32_t mode = 0; mode < 300; mode++) {
        x.order.mode = mode;
        if (mode >= MODE_RECOVER && mode <= MODE_STOP)
            accepted(&x);
        else
            refused(&x, "without a mode");
    }
    x.order.mode = MODE_RUN;
    x.order.records = WIRE_RECORDS_MAX + 1;
    refused(&x, "too large a log");
    x.order.records = WIRE_RECORDS_MAX;
    x.order.world_size = WORKERS_MAX + 1;
    refused(&x, "too many members");
    x.order.world_size = WORKERS_MAX;
    memset(why, 'w', WHY_MAX);
    x.order.why = why;
    refused(&x, "too long a text");
    why[WHY_MAX - 1] = '\0';
    accepted(&x);

    for (size_t i = 0; i <= SHARDS_MAX; i++) {
        penstock__member__init(&member[i]);
        members[i] = &member[i];
    }
    x.order.members = members;
    x.order.n_members = 1;
    refused(&x, "holes"); /* no map */
    x.order.map = (ProtobufCBinaryData){4, x.map};
    accepted(&x);
    x.map[2] = 1;
    refused(&x, "map is out of range"); /* there is no shard 1 */
    x.order.n_members = 2;
    accepted(&x);
    x.map[0] = 1;
    refused(&x, "map is out of range"); /* 4097 buckets */
    x.map[0] = x.map[1] = 0;
    refused(&x, "map is out of range"); /* a run of none */
    x.map[1] = BUCKETS >> 8;
    x.order.map.len = 3;
    refused(&x, "cut off");
    x.order.map.len = 4;
    x.order.n_members = SHARDS_MAX;
    accepted(&x);
    x.order.n_members++;
    refused(&x, "too many members");
    x.order.n_members = 2;
    memset(address, 'a', ADDRESS_MAX);
    member[1].address = address;
    refused(&x, "too long an address");
    member[1].address = NULL;
    penstock__member__init(&member[1]);

    x.order.schedule = &x.schedule;
    x.schedule.changes = changes;
    for (size_t i = 0; i <= SCHEDULE_CHANGES_MAX; i++) {
        penstock__rate_change__init(&change[i]);
        change[i].from_step = i;
        change[i].factor = .5;
        changes[i] = &change[i];
    }
    x.schedule.n_changes = SCHEDULE_CHANGES_MAX;
    accepted(&x);
    change[3].from_step = change[2].from_step;
    refused(&x, "change of the schedule");
    change[3].from_step = 3;
    static const double wrong[] = {-1, (double)INFINITY, (double)NAN};
    for (size_t i = 0; i < 3; i++) {
        change[5].factor = wrong[i];
        refused(&x, "change of the schedule");
        change[5].factor = 1;
        x.schedule.rate_min = wrong[i];
        refused(&x, "schedule is out of range");
        x.schedule.rate_min = 0;
    }
    x.schedule.n_changes++;
    refused(&x, "schedule is out of range");
}

static void test_limits_of_states(void **state)
{
    (void)state;
    Penstock__Progress g = PENSTOCK__PROGRESS__INIT, *list[LEASES_MAX + 1];
    Penstock__TableSum sum = PENSTOCK__TABLE_SUM__INIT, *sums[PLAN_TABLES_MAX + 1];
    static char name[FILE_NAME_MAX + 1];
    struct envelope x;
    for (size_t i = 0; i <= LEASES_MAX; i++)
        list[i] = &g;
    for (size_t i = 0; i <= PLAN_TABLES_MAX; i++)
        sums[i] = &sum;
    envelope_init(&x);
    x.worker.progress = list;
    x.worker.n_progress = LEASES_MAX;
    accepted(&x);
    x.worker.n_progress++;
    refused(&x, "too many leases");
    x.worker.n_progress = 1;
    g.upto = WIRE_RECORDS_MAX + 1;
    refused(&x, "progress is out of range");
    g.upto = 0;
    x.worker.room = LEASES_MAX + 1;
    refused(&x, "too many leases");
    x.worker.room = 0;
    x.worker.rank = 1;
    refused(&x, "rank is out of range");
    x.worker.world_size = WORKERS_MAX + 1;
    refused(&x, "rank is out of range");

    envelope_init(&x);
    use_shard(&x);
    x.shard.tables = sums;
    x.shard.n_tables = PLAN_TABLES_MAX;
    x.shard.shard = SHARDS_MAX - 1;
    accepted(&x);
    x.shard.n_tables++;
    refused(&x, "state is out of range");
    x.shard.n_tables = 0;
    x.shard.shard = SHARDS_MAX;
    refused(&x, "state is out of range");
    x.shard.shard = 0;
    static const char *const bad[] = {"../x", "/etc/x", "data/../x", "a b", "a\nb", "a;b", "\xff"};
    x.shard.file = name;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        strcpy(name, bad[i]);
        assert_int_equal(try(&x), ST_BAD_PEER);
    }
    strcpy(name, "data/1.0.0.full.safetensors");
    accepted(&x);
    memset(name, 'a', FILE_NAME_MAX);
    assert_int_equal(try(&x), ST_BAD_PEER);
}

static void test_limits_of_ranges(void **state)
{
    (void)state;
    struct envelope x;
    envelope_init(&x);
    x.e.body_case = PENSTOCK__ENVELOPE__BODY_LEASE;
    x.e.lease = &x.lease;
    x.e.role = ROLE_HEAD;
    x.lease.end = WIRE_RECORDS_MAX;
    accepted(&x);
    x.lease.begin = WIRE_RECORDS_MAX + 1;
    refused(&x, "lease is out of range");
    x.lease.end = UINT64_MAX;
    refused(&x, "lease is out of range");
    envelope_init(&x);
    use_push(&x);
    x.push.rank = WORKERS_MAX;
    refused(&x, "push is out of range");
    x.push.rank = 0;
    x.push.begin = 2;
    x.push.end = 1;
    refused(&x, "records are out of range");
    x.push.end = UINT64_MAX;
    refused(&x, "records are out of range");
}

/* A body of field 31 is no kind of this version. */
static void test_unknown_kind(void **state)
{
    (void)state;
    struct envelope x;
    struct buffer env = BUFFER_INIT;
    envelope_init(&x);
    x.e.body_case = PENSTOCK__ENVELOPE__BODY__NOT_SET;
    size_t n = penstock__envelope__get_packed_size(&x.e);
    penstock__envelope__pack(&x.e, buffer_room(&env, n));
    buffer_put(&env, "\xfa\x01\x00", 3);
    assert_int_equal(decode(env.data, env.used, NULL, 0), ST_BAD_PEER);
    assert_non_null(strstr(err.text, "without a body"));
    buffer_release(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_of_an_envelope),        cmocka_unit_test(test_limits_of_frames),
        cmocka_unit_test(test_frames_and_envelope_differ), cmocka_unit_test(test_texts),
        cmocka_unit_test(test_limits_of_an_order),         cmocka_unit_test(test_limits_of_states),
        cmocka_unit_test(test_limits_of_ranges),           cmocka_unit_test(test_unknown_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
