/* http_routes.c - see http_routes.h. Schemas are JSON with ' for "; service.h says what the fields mean. */
#include "ps/serve/http_routes.h"

#include <string.h>

#include "ps/serve/http_experiments.h"
#include "ps/serve/http_health.h"
#include "ps/serve/http_infer.h"
#include "ps/serve/http_metrics.h"
#include "ps/serve/http_openapi.h"
#include "ps/serve/http_service.h"
#include "ps/serve/http_versions.h"

#define OBJECT(required, properties)                                                               \
    "{'type': 'object', 'required': [" required "], 'properties': {" properties "}}"
#define ID       "{'oneOf': [{'type': 'string'}, {'type': 'integer'}]}"
#define TEXT     "{'type': 'string'}"
#define WHOLE    "{'type': 'integer', 'minimum': 0}"
#define NUMBER   "{'type': 'number'}"
#define TRUTH    "{'type': 'boolean'}"
#define CELLS    "{'type': 'object'}"
#define LIST(of) "{'type': 'array', 'items': " of "}"
#define VERSION  "'snapshot_version': " WHOLE ", 'incarnation': " WHOLE

#define RANK_IN                                                                                    \
    OBJECT("'items'",                                                                              \
           "'user_id': " ID ", 'items': " LIST("{}") ", 'context': " CELLS ", 'session_id': " ID   \
                                                     ", 'scenario': " TEXT                         \
                                                     ", 'time': {}, 'version': " WHOLE             \
                                                     ", 'n': " WHOLE ", 'outputs': " TRUTH)
#define RANKED                                                                                     \
    OBJECT("'rec_id', 'snapshot_version', 'incarnation', 'items'",                                 \
           "'rec_id': " TEXT ", " VERSION ", 'items': " LIST(                                      \
               OBJECT("'item_id', 'score'",                                                        \
                      "'item_id': " TEXT                                                           \
                      ", 'score': " NUMBER)) ", 'unknown': " CELLS ", 'experiment': " TEXT         \
                                             ", 'variant': " TEXT ", 'propensity': " NUMBER        \
                                             ", 'source': " TEXT)
#define RECOMMEND_IN                                                                               \
    OBJECT("", "'user_id': " ID ", 'n': " WHOLE ", 'context': " CELLS ", 'filter': " OBJECT(       \
                   "", "'seen': " TRUTH ", 'in_stock': " TRUTH ", 'category': {}, 'allow': " LIST( \
                           ID) ", 'deny': " LIST(ID)) ", 'session_id': " ID ", 'scenario': " TEXT  \
                                                      ", 'time': {}, 'version': " WHOLE)
#define EVENTS_IN                                                                                  \
    OBJECT("'events'", "'user_id': " ID ", 'session_id': " ID ", 'events': " LIST(                 \
                           OBJECT("'event_id', 'type', 'item_id'",                                 \
                                  "'event_id': " ID ", 'type': " TEXT ", 'item_id': " ID           \
                                  ", 'user_id': " ID ", 'ts': {}, 'value': {}, 'rec_id': " TEXT    \
                                  ", 'position': " WHOLE ", 'context': " CELLS)))
#define EVENTS_OUT                                                                                 \
    OBJECT("'accepted', 'duplicates'", "'accepted': " WHOLE ", 'duplicates': " WHOLE ", " VERSION)
#define PROFILE_IN OBJECT("'fields'", "'fields': " CELLS)
#define ITEM_IN    OBJECT("", "'fields': " CELLS ", 'in_stock': " TRUTH ", 'category': " ID)
#define USER_OUT                                                                                   \
    OBJECT("'user_id'", "'user_id': " TEXT ", 'fields': " CELLS                                    \
                        ", 'history': " LIST(CELLS) ", 'deleted': " TRUTH ", " VERSION)
#define ITEM_OUT                                                                                   \
    OBJECT("'item_id'", "'item_id': " TEXT ", 'fields': " CELLS ", 'in_stock': " TRUTH             \
                        ", 'category': {}, 'deleted': " TRUTH ", " VERSION)
#define SIMILAR_OUT                                                                                \
    OBJECT("'item_id', 'items', 'snapshot_version'",                                               \
           "'item_id': " TEXT ", 'items': " LIST(CELLS) ", " VERSION)
#define VERSIONS_OUT                                                                               \
    OBJECT("'versions'", "'versions': " LIST(                                                      \
                             OBJECT("'snapshot_version', 'incarnation', 'shown'", VERSION          \
                                    ", 'taken': " NUMBER ", 'ready': " NUMBER ", 'shown': " TRUTH  \
                                    ", 'pinned': " TRUTH ", 'refused': " TRUTH)) ", " VERSION)
#define PIN_IN OBJECT("'snapshot_version'", "'snapshot_version': " WHOLE)
#define HEALTH_OUT                                                                                 \
    OBJECT("'status'",                                                                             \
           "'status': " TEXT ", " VERSION ", 'age_seconds': " NUMBER ", 'up_seconds': " NUMBER)
#define LIVE_OUT  OBJECT("'live'", "'live': " TRUTH)
#define READY_OUT OBJECT("'ready'", "'live': " TRUTH ", 'ready': " TRUTH)
#define SERVER_OUT                                                                                 \
    OBJECT("'name', 'version', 'extensions'",                                                      \
           "'name': " TEXT ", 'version': " TEXT ", 'extensions': " LIST(TEXT))
#define TENSOR_META                                                                                \
    OBJECT("'name', 'datatype', 'shape'",                                                          \
           "'name': " TEXT ", 'datatype': " TEXT ", 'shape': " LIST("{'type': 'integer'}"))
#define TENSOR                                                                                     \
    OBJECT("'name', 'datatype', 'shape', 'data'",                                                  \
           "'name': " TEXT ", 'datatype': " TEXT                                                   \
           ", 'shape': " LIST(WHOLE) ", 'parameters': " CELLS ", 'data': " LIST("{}"))
#define MODEL_OUT                                                                                  \
    OBJECT("'name', 'platform', 'inputs', 'outputs'",                                              \
           "'name': " TEXT ", 'versions': " LIST(TEXT) ", 'platform': " TEXT ", 'inputs': " LIST(  \
               TENSOR_META) ", 'outputs': " LIST(TENSOR_META))
#define MODEL_READY_OUT OBJECT("'name', 'ready'", "'name': " TEXT ", 'ready': " TRUTH)
#define INFER_IN                                                                                   \
    OBJECT("'inputs'", "'id': " TEXT ", 'parameters': " CELLS                                      \
                       ", 'inputs': " LIST(TENSOR) ", 'outputs': " LIST(                           \
                           OBJECT("'name'", "'name': " TEXT ", 'parameters': " CELLS)))
#define INFER_OUT                                                                                  \
    OBJECT("'model_name', 'outputs'",                                                              \
           "'model_name': " TEXT ", 'model_version': " TEXT ", 'id': " TEXT                        \
           ", 'parameters': " OBJECT("'snapshot_version'", VERSION) ", 'outputs': " LIST(TENSOR))
#define DESCRIPTION_OUT                                                                            \
    OBJECT("'openapi', 'info', 'paths'",                                                           \
           "'openapi': " TEXT ", 'info': " CELLS ", 'components': " CELLS ", 'paths': " CELLS)

#define EXPERIMENTS_OUT OBJECT("'experiments'", "'experiments': " LIST(TEXT) ", " VERSION)
#define VARIANT_OUT                                                                                \
    OBJECT("'variant', 'users', 'exposures'",                                                      \
           "'variant': " TEXT ", 'source': " TEXT ", 'version': " WHOLE ", 'stream': " TEXT        \
           ", 'shadow': " TRUTH ", 'weight': " NUMBER ", 'users': " WHOLE ", 'exposures': " WHOLE  \
           ", 'examples': " WHOLE ", 'positives': " WHOLE                                          \
           ", 'auc': {}, 'auc_bound': {}, 'logloss': {}, 'normalized_entropy': {}, "               \
           "'calibration': {}, 'corrected': " WHOLE ", 'refused': " WHOLE ", 'missing': " WHOLE    \
           ", 'unscored': " WHOLE)
#define METRIC_OUT                                                                                 \
    OBJECT("'metric', 'event', 'sums'",                                                            \
           "'metric': " TEXT ", 'event': " TEXT ", 'sums': " CELLS ", 'statistics': {}")
#define EXPERIMENT_OUT                                                                             \
    OBJECT("'experiment', 'variants', 'metrics'",                                                  \
           "'experiment': " TEXT ", 'seed': " TEXT ", 'coverage': " NUMBER ", 'alpha': " NUMBER    \
           ", 'n_star': " NUMBER ", 'window_seconds': " NUMBER ", 'waiting': " WHOLE               \
           ", 'unmatched': " WHOLE                                                                 \
           ", 'variants': " LIST(VARIANT_OUT) ", 'metrics': " LIST(METRIC_OUT) ", " VERSION)

#define SERVICE(kind) http_service, kind

const struct route http_routes[] = {
    {HTTP_POST, "/v1/rank", SERVICE(SERVICE_RANK), true, "rank",
     "Order given items for a user, as of the last click.", "200 400 404", RANK_IN, RANKED},
    {HTTP_POST, "/v1/recommend", SERVICE(SERVICE_RECOMMEND), true, "recommend",
     "Find items for a user, and order them.", "200 400 404", RECOMMEND_IN, RANKED},
    {HTTP_POST, "/v1/events", SERVICE(SERVICE_EVENTS), true, "events",
     "What users did; on disk when answered, idempotent by event_id.", "202 400", EVENTS_IN,
     EVENTS_OUT},
    {HTTP_GET, "/v1/users/{id}", SERVICE(SERVICE_USER_GET), false, "user_get",
     "A user's profile and history.", "200 400 404", NULL, USER_OUT},
    {HTTP_PUT, "/v1/users/{id}", SERVICE(SERVICE_USER_PUT), true, "user_put",
     "Replace a user's profile; the history stays.", "200 400", PROFILE_IN, USER_OUT},
    {HTTP_DELETE, "/v1/users/{id}", SERVICE(SERVICE_USER_DELETE), false, "user_delete",
     "Forget a user: profile and history.", "200 400", NULL, USER_OUT},
    {HTTP_GET, "/v1/items/{id}", SERVICE(SERVICE_ITEM_GET), false, "item_get", "An item's profile.",
     "200 400 404", NULL, ITEM_OUT},
    {HTTP_PUT, "/v1/items/{id}", SERVICE(SERVICE_ITEM_PUT), true, "item_put",
     "Replace an item's profile.", "200 400", ITEM_IN, ITEM_OUT},
    {HTTP_DELETE, "/v1/items/{id}", SERVICE(SERVICE_ITEM_DELETE), false, "item_delete",
     "Forget an item.", "200 400", NULL, ITEM_OUT},
    {HTTP_GET, "/v1/items/{id}/similar", SERVICE(SERVICE_SIMILAR), false, "similar",
     "Items whose embedding is near; ?n=10.", "200 400", NULL, SIMILAR_OUT},
    {HTTP_GET, "/v1/versions", http_versions_list, SERVICE_KINDS, false, "versions",
     "The versions that are kept.", "200", NULL, VERSIONS_OUT},
    {HTTP_POST, "/v1/versions/pin", http_versions_pin, SERVICE_KINDS, true, "versions_pin",
     "Show one version until unpin.", "200 400 404", PIN_IN, VERSIONS_OUT},
    {HTTP_POST, "/v1/versions/unpin", http_versions_unpin, SERVICE_KINDS, false, "versions_unpin",
     "Show the newest version again.", "200", NULL, VERSIONS_OUT},
    {HTTP_POST, "/v1/versions/rollback", http_versions_rollback, SERVICE_KINDS, false,
     "versions_rollback", "Pin the version before the one that is shown.", "200 409", NULL,
     VERSIONS_OUT},
    {HTTP_GET, "/v2", http_infer_server, SERVICE_KINDS, false, "v2_server", "Server metadata.",
     "200", NULL, SERVER_OUT},
    {HTTP_GET, "/v2/health/live", http_health_live, SERVICE_KINDS, false, "v2_health_live",
     "It answers.", "200", NULL, LIVE_OUT},
    {HTTP_GET, "/v2/health/ready", http_health_ready, SERVICE_KINDS, false, "v2_health_ready",
     "A version is shown, and the node does not stop.", "200", NULL, READY_OUT},
    {HTTP_GET, "/v2/models/{model}", http_infer_model, SERVICE_KINDS, false, "v2_model",
     "Inputs and outputs.", "200 404", NULL, MODEL_OUT},
    {HTTP_GET, "/v2/models/{model}/versions/{version}", http_infer_model, SERVICE_KINDS, false,
     "v2_model_version", "Inputs and outputs.", "200 404", NULL, MODEL_OUT},
    {HTTP_GET, "/v2/models/{model}/ready", http_infer_ready, SERVICE_KINDS, false, "v2_model_ready",
     "Whether the model can be asked.", "200 404", NULL, MODEL_READY_OUT},
    {HTTP_GET, "/v2/models/{model}/versions/{version}/ready", http_infer_ready, SERVICE_KINDS,
     false, "v2_model_version_ready", "Whether that version can be asked.", "200 404", NULL,
     MODEL_READY_OUT},
    {HTTP_POST, "/v2/models/{model}/infer", http_infer, SERVICE_INFER, true, "v2_infer",
     "Tensors in, scores out.", "200 400 404", INFER_IN, INFER_OUT},
    {HTTP_POST, "/v2/models/{model}/versions/{version}/infer", http_infer, SERVICE_INFER, true,
     "v2_version_infer", "The same, by that version.", "200 400 404", INFER_IN, INFER_OUT},
    {HTTP_GET, "/v1/experiments", http_experiments, SERVICE_EXPERIMENT, false, "experiments",
     "Which experiments run here.", "200", NULL, EXPERIMENTS_OUT},
    {HTTP_GET, "/v1/experiments/{id}", http_experiments, SERVICE_EXPERIMENT, false, "experiment",
     "What is measured of each variant.", "200 404", NULL, EXPERIMENT_OUT},
    {HTTP_GET, "/healthz", http_health, SERVICE_KINDS, false, "healthz",
     "Whether it may be asked, and how old its version is.", "200", NULL, HEALTH_OUT},
    {HTTP_GET, "/metrics", http_metrics, SERVICE_KINDS, false, "metrics", "For Prometheus.", "200",
     NULL, NULL},
    {HTTP_GET, "/openapi.json", http_openapi, SERVICE_KINDS, false, "openapi", "This description.",
     "200", NULL, DESCRIPTION_OUT},
};
const size_t http_routes_used = sizeof(http_routes) / sizeof(http_routes[0]);
_Static_assert(sizeof(http_routes) / sizeof(http_routes[0]) <= NODE_ROUTES_MAX, "raise it");

/* What a load balancer asks, which has no token and needs none: nothing of the model or of people is in it. */
const char *const http_routes_open[] = {"/healthz", "/v2/health/live", "/v2/health/ready", NULL};

/* One part of a pattern against one of a target; {...} takes any that is not empty. */
static bool part_fits(const char *pattern, size_t n, const char *part, const char **out_id)
{
    if (pattern[0] == '{') {
        *out_id = part;
        return part[0] != '\0';
    }
    return strlen(part) == n && memcmp(part, pattern, n) == 0;
}

static bool fits(const char *path, const struct http_target *t, const char *out_id[2])
{
    size_t ids = 0, i = 0;
    out_id[0] = out_id[1] = NULL;
    for (const char *at = path; *at == '/'; i++) {
        const char *pattern = at + 1;
        size_t n = strcspn(pattern, "/");
        if (i >= t->segments || !part_fits(pattern, n, t->segment[i], &out_id[ids])) {
            return false;
        }
        ids += pattern[0] == '{' && ids < 1;
        at = pattern + n;
    }
    return i == t->segments;
}

const struct route *http_routes_find(enum http_method method, const struct http_target *t,
                                     const char *out_id[2], unsigned *out_methods)
{
    const struct route *found = NULL;
    *out_methods = 0;
    for (size_t i = 0; i < http_routes_used; i++) {
        const char *id[2];
        if (!fits(http_routes[i].path, t, id)) {
            continue;
        }
        *out_methods |= 1u << http_routes[i].method;
        if (http_routes[i].method == method) {
            found = &http_routes[i];
            out_id[0] = id[0];
            out_id[1] = id[1];
        }
    }
    return found;
}
