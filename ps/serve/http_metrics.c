/* http_metrics.c - see http_metrics.h. Sums over the loops' counters, each read as it is: no lock, no instant. */
#include "ps/serve/http_metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/metrics/prometheus.h"
#include "ps/serve/call.h"

#define COUNTER PROMETHEUS_COUNTER
#define GAUGE   PROMETHEUS_GAUGE

static uint64_t load(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static void put_latencies(const struct node *n, struct buffer *out)
{
    static const char name[] = "penstock_serving_request_duration_seconds";
    prometheus_metric(out, name, PROMETHEUS_HISTOGRAM,
                      "From a whole request to its answer sent, by route.");
    for (size_t r = 0; r < n->routes_used; r++) {
        uint64_t counts[NODE_BUCKETS + 1] = {0}, sum_us = 0, all = 0;
        for (unsigned l = 0; l < n->loops; l++) {
            for (size_t b = 0; b <= NODE_BUCKETS; b++) {
                counts[b] += load(&n->loop[l].counts.bucket[r][b]);
            }
            sum_us += load(&n->loop[l].counts.sum_us[r]);
        }
        for (size_t b = 0; b <= NODE_BUCKETS; b++) {
            all += counts[b];
        }
        if (all > 0) {
            prometheus_histogram(out, name, "route", n->routes[r].name, call_edges, counts,
                                 NODE_BUCKETS, (double)sum_us * 1e-6);
        }
    }
}

static void put_requests(const struct node *n, struct buffer *out)
{
    uint64_t batches = 0, requests = 0;
    char code[8];
    prometheus_metric(out, "penstock_serving_requests_total", COUNTER, "Answers, by code.");
    for (unsigned c = 100; c < 600; c++) {
        uint64_t all = 0;
        for (unsigned l = 0; l < n->loops; l++) {
            all += load(&n->loop[l].counts.code[c]);
        }
        if (all > 0 || c == 200) {
            snprintf(code, sizeof(code), "%u", c);
            prometheus_sample(out, "penstock_serving_requests_total", "code", code, (double)all);
        }
    }
    for (unsigned l = 0; l < n->loops; l++) {
        batches += load(&n->loop[l].counts.batches);
        requests += load(&n->loop[l].counts.batch_requests);
    }
    prometheus_one(out, "penstock_serving_batches_total", COUNTER, "Batches scored.",
                   (double)batches);
    prometheus_one(out, "penstock_serving_batch_requests_total", COUNTER,
                   "Requests in those batches.", (double)requests);
}

static void put_events(const struct node *n, struct buffer *out)
{
    uint64_t counts[NODE_BUCKETS + 1];
    for (size_t b = 0; b <= NODE_BUCKETS; b++) {
        counts[b] = load(&n->event_bucket[b]);
    }
    prometheus_metric(out, "penstock_event_to_rank_seconds", PROMETHEUS_HISTOGRAM,
                      "From a whole request with events until the next ranking sees them.");
    prometheus_histogram(out, "penstock_event_to_rank_seconds", NULL, NULL, call_edges, counts,
                         NODE_BUCKETS, (double)load(&n->event_us) * 1e-6);
}

static void put_connections(const struct node *n, struct buffer *out)
{
    struct http_stats s;
    http_server_stats(n->server, &s);
    prometheus_one(out, "penstock_serving_connections", GAUGE, "Open connections.",
                   (double)s.connections);
    prometheus_one(out, "penstock_serving_connections_total", COUNTER, "Connections accepted.",
                   (double)s.accepted);
    prometheus_one(out, "penstock_serving_connections_refused_total", COUNTER,
                   "Connections turned away: too many.", (double)s.refused);
    prometheus_one(out, "penstock_serving_connections_cut_total", COUNTER,
                   "Connections cut: idle, or too slow.", (double)s.cut);
    prometheus_one(out, "penstock_serving_malformed_total", COUNTER,
                   "Requests whose frame could be read in two ways.", (double)s.malformed);
    prometheus_one(out, "penstock_serving_writes_queued", GAUGE, "Requests that wait for the disk.",
                   (double)queue_used(n->writes));
}

static void put_replica(const struct node *n, struct buffer *out)
{
    struct replica_stats s;
    struct replica_version v[2 * REPLICA_KEEP_MAX];
    replica_stats(n->replica, &s);
    size_t kept = replica_list(n->replica, v, sizeof(v) / sizeof(v[0]));
    uint64_t now = clock_wall_us(), taken = 0;
    for (size_t i = 0; i < kept; i++) {
        taken = v[i].shown ? v[i].wall_us : taken;
    }
    prometheus_metric(out, "penstock_snapshot_version", GAUGE, "The version that is shown: a cut.");
    prometheus_sample(out, "penstock_snapshot_version", "model",
                      replica_model(n->replica)->job.name, (double)s.shown_k);
    prometheus_one(out, "penstock_snapshot_newest", GAUGE, "The newest cut that was heard of.",
                   (double)s.newest_k);
    prometheus_one(out, "penstock_snapshot_age_seconds", GAUGE,
                   "Time since the version that is shown was taken.",
                   taken > 0 && now > taken ? (double)(now - taken) * 1e-6 : 0);
    prometheus_one(out, "penstock_snapshot_pinned", GAUGE, "1: a version is pinned.", s.pinned);
    prometheus_one(out, "penstock_snapshots_shown_total", COUNTER, "Versions shown.",
                   (double)s.shown_total);
    prometheus_one(out, "penstock_snapshots_refused_total", COUNTER,
                   "Versions refused: weights that are not finite.", (double)s.refused_total);
    prometheus_one(out, "penstock_hash_mismatch_total", COUNTER,
                   "Versions whose hash was not the manifest's; never shown.",
                   (double)s.mismatch_total);
    prometheus_one(out, "penstock_crc_errors_total", COUNTER, "Files or messages found damaged.",
                   (double)s.damaged_total);
    prometheus_one(out, "penstock_delta_lag_seq", GAUGE,
                   "Cuts heard of that are newer than the newest one shown.",
                   s.newest_k > s.shown_k ? (double)(s.newest_k - s.shown_k) : 0);
    prometheus_metric(out, "penstock_resync_total", COUNTER, "Loads of the newest chain anew.");
    prometheus_sample(out, "penstock_resync_total", "kind", "full", (double)s.resync_total);
    prometheus_metric(out, "penstock_rollback_total", COUNTER, "Rollbacks.");
    prometheus_sample(out, "penstock_rollback_total", "reason", "asked",
                      (double)load(&n->rollbacks));
    prometheus_one(out, "penstock_stream_retries_total", COUNTER, "Questions asked again.",
                   (double)s.retried_total);
    prometheus_one(out, "penstock_stream_bytes_total", COUNTER, "Bytes fetched.",
                   (double)s.fetched_bytes);
    prometheus_one(out, "penstock_replica_bytes", GAUGE, "Memory of all versions.",
                   (double)s.bytes);
    prometheus_one(out, "penstock_overlay_bytes", GAUGE,
                   "Of it, what the versions differ from the base by.",
                   s.bytes > s.base_bytes ? (double)(s.bytes - s.base_bytes) : 0);
    prometheus_one(out, "penstock_replica_rows", GAUGE, "Rows of the version that is shown.",
                   (double)s.rows);
}

static void put_service(const struct node *n, struct buffer *out)
{
    struct service_stats s;
    service_stats(n->service, &s);
    const struct {
        const char *name;
        enum prometheus_type type;
        uint64_t value;
        const char *help;
    } rows[] = {
        {"penstock_users", GAUGE, s.users, "Users with a profile or a history."},
        {"penstock_items", GAUGE, s.items, "Items with a profile."},
        {"penstock_users_bytes", GAUGE, s.users_bytes, "Memory of users."},
        {"penstock_items_bytes", GAUGE, s.items_bytes, "Memory of items."},
        {"penstock_events_total", COUNTER, s.events, "Events taken."},
        {"penstock_events_duplicate_total", COUNTER, s.events_duplicate,
         "Events whose id had come before."},
        {"penstock_exposures_total", COUNTER, s.exposures, "Exposures logged."},
        {"penstock_exposures_lost_total", COUNTER, s.exposures_lost + load(&n->exposures_dropped),
         "Exposures that could not be logged: the disk failed or was too slow."},
        {"penstock_outcomes_total", COUNTER, s.outcomes, "Outcomes joined with an exposure."},
        {"penstock_outcomes_late_total", COUNTER, s.outcomes_late, "Outcomes behind the window."},
        {"penstock_records_scored_total", COUNTER, s.records_scored, "Records scored."},
        {"penstock_ids_unknown_total", COUNTER, s.ids_unknown,
         "Ids that the model did not know, and gave their field's row for such."},
        {"penstock_journal_bytes", GAUGE, s.journal_bytes, "Bytes of the state's journal."},
        {"penstock_journal_failures_total", COUNTER, s.journal_failures, "Writes that failed."},
        {"penstock_read_only", GAUGE, s.read_only, "1: the last write failed."},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prometheus_one(out, rows[i].name, rows[i].type, rows[i].help, (double)rows[i].value);
    }
}

void http_metrics(struct call *c)
{
    const struct node *n = c->loop->node;
    struct buffer out = BUFFER_INIT;
    put_latencies(n, &out);
    put_requests(n, &out);
    put_events(n, &out);
    put_connections(n, &out);
    put_replica(n, &out);
    put_service(n, &out);
    service_experiment_metrics(n->service, &out);
    prometheus_one(&out, "penstock_resident_memory_bytes", GAUGE, "Memory of the process.",
                   (double)mem_rss_bytes());
    http_answer(c->http, 200, (char *)out.data, out.used, PROMETHEUS_CONTENT_TYPE);
}
