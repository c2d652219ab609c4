/* job_options.c - THE option table: every key a job may have, where it lives, what it may be, what it is for.
 *
 * A new option is one row here and one member in struct job; loading, --set, --help, check, resolved.yaml,
 * the config hash and what --resume may change follow from the row. Flag F marks what --resume may change:
 * where the run happens and how long, never what is learned.
 *
 * `applies` names the choice under which a key means anything. Given outside of it, a key is refused: an
 * option that is silently ignored is the worst documentation.
 *
 * Rows stand in the order of resolved.yaml; name and data come first, because job.c writes
 * data.fields behind them. Bounds are inclusive; times are in microseconds.
 */
#include "common/base/job.h"

#include <stddef.h>

#define AT(member)  offsetof(struct job, member)
#define OF(member)  offsetof(struct job_field, member)
#define OJ(member)  offsetof(struct job_join, member)
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define F           OPTION_RESUME_FREE
#define MS          1e3
#define SECOND      1e6
#define HOUR        3.6e9
#define DAY         8.64e10
#define DELIMITED   "data.format=delimited"
#define HAS_MISSING "data.format=delimited|criteo|recbole|slots|json|tfrecord|parquet|query"
#define CUT_PART    "data.split.by=ratio|time|fold"
#define CUT_TEST    "data.split.by=ratio|time"
#define DEEP        "model.family=mlp|dcnv2|widedeep|deepfm|dlrm|finalmlp|finalnet|din|multitask"
#define TWO_NETS    "model.family=finalmlp|finalnet"
#define NEXT_ITEM   "model.family=sasrec|lstm|gru|cnn"
#define RECURRENT   "model.family=lstm|gru"
#define HAS_DROPOUT DEEP "|sasrec|lstm|gru|cnn"
#define FEATURE_IDS "type=id|ids|user|item"
#define HAS_COLUMN  "type=id|ids|float|time|label|user|item|skip"

#define KINDS      "sgd|adagrad|rowwise_adagrad|adam|momentum|nesterov|adamw|amsgrad|rowwise_adam|ftrl"
#define ADAMS      "adam|adamw|amsgrad|rowwise_adam"
#define BY_EPOCHS  "train.window=false"
#define OT(member) offsetof(struct job_table, member)
#define INHERITED  "as in optimizer.embedding, for dense in optimizer.dense"

static const struct option rows[] = {
    {"name", OPT_TEXT, AT(name), 0, 0, "", NULL, NULL, F,
     "what the job is called in reports; empty: the file's name without .yaml"},

    /* -- data -- */
    {"data.root", OPT_PATH, AT(data.root), 0, 0, "", NULL, NULL, F,
     "folder put before relative data paths; itself relative to the job file"},
    {"data.train", OPT_PATHS, AT(data.train), 0, 0, "", NULL, NULL, F,
     "logs to train on: paths or globs; plain, gzip or zstd"},
    {"data.valid", OPT_PATHS, AT(data.valid), 0, 0, "", NULL, NULL, F,
     "logs that judge each epoch: plateau decay, best cut, early stop"},
    {"data.test", OPT_PATHS, AT(data.test), 0, 0, "", NULL, NULL, F,
     "logs scored once, at the end, with the best cut"},
    {"data.follow", OPT_PATHS, AT(data.follow), 0, 0, "", NULL, NULL, F,
     "growing logs, trained on as they grow once data.train is done: paths, globs, folders"},
    {"data.follow_every", OPT_TIME, AT(data.follow_every), 10 * MS, HOUR, "1s", NULL, NULL, F,
     "new lines wait for so long, then they are a segment: judged, trained on, cut"},
    {"data.follow_records", OPT_U64, AT(data.follow_records), 1, 1e6, "65536", NULL, NULL, F,
     "most lines of a segment: more than so many don't wait"},
    {"data.follow_for", OPT_TIME, AT(data.follow_for), 0, 36500 * DAY, "0", NULL, NULL, F,
     "the run ends so long after it has gone live; 0: at TERM or INT"},
    {"data.follow_idle", OPT_TIME, AT(data.follow_idle), 0, 36500 * DAY, "0", NULL, NULL, F,
     "the run ends when there was no new line for so long; 0: never"},
    {"data.format", OPT_CHOICE, AT(data.format), 0, 0, "delimited",
     "delimited|libsvm|criteo|recbole|libffm|slots|json|tfrecord|parquet|query", NULL, 0,
     "what a log is; libsvm and criteo imply their fields; parquet and query need DuckDB's "
     "library"},
    {"data.delimiter", OPT_TEXT, AT(data.delimiter), 0, 0, ",", NULL, DELIMITED, 0,
     "what separates cells: any text, as \",\", \"\\t\" or \"::\""},
    {"data.header", OPT_BOOL, AT(data.header), 0, 0, "true", NULL, DELIMITED, 0,
     "whether the first line of each file names the columns"},
    {"data.quote", OPT_TEXT, AT(data.quote), 0, 0, "\"", NULL, DELIMITED, 0,
     "the character around cells that hold a delimiter; empty: none"},
    {"data.missing", OPT_TEXTS, AT(data.missing), 0, 0,
     "[\"\", \"NA\", \"null\", \"NULL\", \"nan\", \"\\\\N\"]", NULL, HAS_MISSING, 0,
     "cells that mean: no value"},
    {"data.slot_last", OPT_BOOL, AT(data.slot_last), 0, 0, "false", NULL, "data.format=slots", 0,
     "whether pairs are value:slot instead of slot:value"},
    {"data.query", OPT_TEXT, AT(data.query), 0, 0, "", NULL, "data.format=query", 0,
     "SELECT that gives the records; {file} in it stands for each file in turn"},
    {"data.duckdb", OPT_TEXT, AT(data.duckdb), 0, 0, "", NULL, "data.format=parquet|query", F,
     "DuckDB's shared library; empty: $PENSTOCK_DUCKDB, then libduckdb.so where the system finds "
     "it"},
    {"data.label_above", OPT_F64, AT(data.label_above), -1e30, 1e30, ".5", NULL, NULL, 0,
     "a record is positive if its label cell is above this"},
    {"data.bad_max", OPT_F64, AT(data.bad_max), 0, 1, ".01", NULL, NULL, 0,
     "a larger part of bad lines stops the run; fewer are quarantined and counted"},
    {"data.bytes_max", OPT_BYTES, AT(data.bytes_max), 1, 0x1p50, "1T", NULL, NULL, 0,
     "bound on one file, inflated: what a compressed file may hold at most"},
    {"data.cache", OPT_PATH, AT(data.cache), 0, 0, "", NULL, NULL, F,
     "folder of converted logs, relative to the job file; empty: cache in the run's folder"},
    {"data.split.by", OPT_CHOICE, AT(data.split.by), 0, 0, "files",
     "files|ratio|time|fold|window|leave_one_out", NULL, 0,
     "valid and test: files, or cut from train; window: train in order; leave_one_out: users' last "
     "events"},
    {"data.split.valid", OPT_F64, AT(data.split.valid), 0, .9, ".1", NULL, CUT_PART, 0,
     "part of the records that becomes valid"},
    {"data.split.test", OPT_F64, AT(data.split.test), 0, .9, ".1", NULL, CUT_TEST, 0,
     "part of the records that becomes test"},
    {"data.split.seed", OPT_U64, AT(data.split.seed), 0, 0, "1", NULL, "data.split.by=ratio|fold",
     0, "key of the hash that splits by ratio, or cuts valid out of the other folds"},
    {"data.split.folds", OPT_U64, AT(data.split.folds), 2, 1000, "5", NULL, "data.split.by=fold", 0,
     "folds that the users fall into, by a hash"},
    {"data.split.fold", OPT_U64, AT(data.split.fold), 0, 999, "0", NULL, "data.split.by=fold", 0,
     "the fold that is test, from 0"},
    {"data.split.window", OPT_TIME, AT(data.split.window), SECOND, 36500 * DAY, "1d", NULL,
     "data.split.by=window", 0, "width of a window; windows begin at multiples of it since 1970"},

    {"data.records", OPT_CHOICE, AT(data.records), 0, 0, "events", "events|sequences", NULL, 0,
     "a record is a line, or the history of a user: all lines of it in the order of time"},
    {"data.sequence.max", OPT_U64, AT(data.sequence.max), 1, 4096, "50", NULL,
     "data.records=sequences", 0, "most items that one is predicted from, the newest"},
    {"data.sequence.min", OPT_U64, AT(data.sequence.min), 2, 1e6, "3", NULL,
     "data.records=sequences", 0, "users with fewer events are left out"},
    {"data.sequence.memory", OPT_BYTES, AT(data.sequence.memory), 1, 0x1p50, "4G", NULL, NULL, F,
     "most memory to order a log by users (sequences, fields of type history), 40 bytes a line"},

    /* -- model -- */
    {"model.family", OPT_CHOICE, AT(model.family), 0, 0, NULL,
     "lr|fm|mlp|dcnv2|widedeep|deepfm|dlrm|finalmlp|finalnet|din|multitask|sasrec|lstm|gru|cnn",
     NULL, 0, "of records: lr to multitask; of the next item in sequences: sasrec, lstm, gru, cnn"},
    {"model.embedding", OPT_U64, AT(model.embedding), 1, 1024, "10", NULL,
     "model.family=fm|mlp|dcnv2|widedeep|deepfm|dlrm|finalmlp|finalnet|din|multitask|sasrec|lstm|"
     "gru|cnn",
     0, "floats in an embedding row"},
    {"model.embedding_init", OPT_F64, AT(model.embedding_init), 0, 10, "1e-4", NULL, NULL, 0,
     "standard deviation of a new row's values"},
    {"model.pooling", OPT_CHOICE, AT(model.pooling), 0, 0, "sum", "sum|mean", DEEP, 0,
     "what becomes of a bag's rows; mean: their sum over their number"},
    {"model.hidden", OPT_U64S, AT(model.hidden), 1, 16384, "[400, 400, 400]", NULL, DEEP, 0,
     "widths of the hidden layers, at most 16"},
    {"model.tower", OPT_U64S, AT(model.tower), 1, 16384, "[64]", NULL, "model.family=multitask", 0,
     "widths of each task's own hidden layers behind the shared ones of model.hidden; []: none"},
    {"model.dropout", OPT_F64, AT(model.dropout), 0, .95, "0", NULL, HAS_DROPOUT, 0,
     "part of hidden layers' outputs (sasrec: attention, too) that is dropped in training"},
    {"model.batch_norm", OPT_BOOL, AT(model.batch_norm), 0, 0, "true", NULL, DEEP, 0,
     "batch normalization behind each hidden layer"},
    {"model.cross", OPT_U64, AT(model.cross), 1, 16, "4", NULL, "model.family=dcnv2", 0,
     "cross layers"},
    {"model.second.hidden", OPT_U64S, AT(model.second.hidden), 1, 16384, "[400]", NULL, TWO_NETS, 0,
     "widths of FinalMLP's second stream, of FinalNet's second block (none: one block)"},
    {"model.second.dropout", OPT_F64, AT(model.second.dropout), 0, .95, "0", NULL, TWO_NETS, 0,
     "dropout of the second stream or block"},
    {"model.dlrm.bottom", OPT_U64S, AT(model.dlrm.bottom), 1, 16384, "[64]", NULL,
     "model.family=dlrm", 0,
     "widths of the hidden layers that make one more embedding of the float fields"},
    {"model.dlrm.top", OPT_CHOICE, AT(model.dlrm.top), 0, 0, "all", "all|dots", "model.family=dlrm",
     0, "beside the dot products the top net sees all embeddings, or only that of the floats"},
    {"model.finalmlp.heads", OPT_U64, AT(model.finalmlp.heads), 1, 1024, "4", NULL,
     "model.family=finalmlp", 0,
     "heads of the fusion; a divisor of the last width of both streams"},
    {"model.finalmlp.gate", OPT_CHOICE, AT(model.finalmlp.gate), 0, 0, "none", "none|bias|fields",
     "model.family=finalmlp", 0,
     "what scales each stream's features: nothing, a vector, a net over the user (2nd: item) "
     "field"},
    {"model.finalmlp.gate_hidden", OPT_U64S, AT(model.finalmlp.gate_hidden), 1, 16384, "[64]", NULL,
     "model.finalmlp.gate=fields", 0, "widths of the gates' hidden layers"},
    {"model.finalnet.gate", OPT_CHOICE, AT(model.finalnet.gate), 0, 0, "sum", "none|sum|concat",
     "model.family=finalnet", 0,
     "field gate before the first block: none, x + x*g, or x and x*g side by side"},
    {"model.finalnet.mix", OPT_CHOICE, AT(model.finalnet.mix), 0, 0, "sum", "sum|concat",
     "model.family=finalnet", 0,
     "how a layer's two halves join: h2 + h1*h2 (twice the weights), or h2 and h1*h2 side by side"},
    {"model.finalnet.teach", OPT_F64, AT(model.finalnet.teach), 0, 100, "1", NULL,
     "model.family=finalnet", 0,
     "weight with which each of two blocks learns from the mean of both"},
    {"model.attention", OPT_U64S, AT(model.attention), 1, 16384, "[64]", NULL, "model.family=din",
     0, "widths of the net that weighs an item of the history by the target"},
    {"model.attention_softmax", OPT_BOOL, AT(model.attention_softmax), 0, 0, "false", NULL,
     "model.family=din", 0,
     "the weights of a history sum to 1; else they are as the net gives them"},
    {"model.blocks", OPT_U64, AT(model.blocks), 1, 32, "1", NULL, "model.family=sasrec|cnn", 0,
     "blocks, one behind the other; cnn: how often model.dilations is gone through"},
    {"model.heads", OPT_U64, AT(model.heads), 1, 64, "1", NULL, "model.family=sasrec", 0,
     "heads of attention; a divisor of model.embedding"},
    {"model.ffn", OPT_U64, AT(model.ffn), 0, 16384, "0", NULL, "model.family=sasrec", 0,
     "width between a block's two layers behind attention; 0: model.embedding"},
    {"model.activation", OPT_CHOICE, AT(model.activation), 0, 0, "relu", "relu|gelu|dice",
     "model.family=sasrec|din", 0,
     "behind hidden layers: relu, gelu (sasrec), dice (din; with the batch's statistics)"},
    {"model.recurrent", OPT_U64, AT(model.recurrent), 0, 1024, "0", NULL, RECURRENT, 0,
     "width of the state; 0: model.embedding; any other needs model.tied=false"},
    {"model.recurrent_dropout", OPT_F64, AT(model.recurrent_dropout), 0, .95, "0", NULL, RECURRENT,
     0, "part of the state that is dropped between steps, one mask for a sequence"},
    {"model.input_dropout", OPT_F64, AT(model.input_dropout), 0, .95, "0", NULL, NEXT_ITEM, 0,
     "part of the embedded inputs that is dropped; lstm, gru: one mask for a sequence"},
    {"model.kernel", OPT_U64, AT(model.kernel), 2, 16, "3", NULL, "model.family=cnn", 0,
     "inputs that a convolution sees"},
    {"model.dilations", OPT_U64S, AT(model.dilations), 1, 4096, "[1, 2, 4]", NULL,
     "model.family=cnn", 0, "distance of these inputs; a residual block each, at most 16"},
    {"model.loss", OPT_CHOICE, AT(model.loss), 0, 0, "ce", "ce|sampled|bce", NEXT_ITEM, 0,
     "softmax over all items or over model.negatives of them, or target against one other"},
    {"model.negatives", OPT_U64, AT(model.negatives), 1, 1e6, "1024", NULL, "model.loss=sampled", 0,
     "items drawn for a batch; all its predictions share them"},
    {"model.scale_embedding", OPT_BOOL, AT(model.scale_embedding), 0, 0, "true", NULL,
     "model.family=sasrec", 0, "multiply embedded inputs by the root of model.embedding"},
    {"model.tied", OPT_BOOL, AT(model.tied), 0, 0, "true", NULL, NEXT_ITEM, 0,
     "score items by their embedding; false: by an output table of its own and a bias"},

    /* -- optimizer -- */
    {"optimizer.embedding.kind", OPT_CHOICE, AT(optimizer.embedding.kind), 0, 0, "adam", KINDS,
     NULL, 0, "optimizer of all sparse tables"},
    {"optimizer.embedding.rate", OPT_F64, AT(optimizer.embedding.rate), 1e-12, 100, "1e-3", NULL,
     NULL, 0, "learning rate of sparse tables"},
    {"optimizer.embedding.l2", OPT_F64, AT(optimizer.embedding.l2), 0, 1e6, "0", NULL, NULL, 0,
     "L2 penalty (l2 / 2) * |w|^2 on sparse tables; adamw: decay by rate * l2; ftrl: lambda2"},
    {"optimizer.embedding.l2_mode", OPT_CHOICE, AT(optimizer.embedding.l2_mode), 0, 0, "exact",
     "exact|touched", NULL, 0,
     "exact: missed decay is replayed, as if every row were touched at every step; touched: only "
     "then"},
    {"optimizer.embedding.l1", OPT_F64, AT(optimizer.embedding.l1), 0, 1e6, "0", NULL,
     "optimizer.embedding.kind=ftrl", 0,
     "FTRL's L1: weights whose sum of gradients stays below it are 0"},
    {"optimizer.embedding.beta1", OPT_F64, AT(optimizer.embedding.beta1), 0, .999999, ".9", NULL,
     "optimizer.embedding.kind=" ADAMS, 0, "decay of Adam's first moment"},
    {"optimizer.embedding.beta2", OPT_F64, AT(optimizer.embedding.beta2), 0, .99999999, ".999",
     NULL, "optimizer.embedding.kind=" ADAMS, 0, "decay of Adam's second moment"},
    {"optimizer.embedding.eps", OPT_F64, AT(optimizer.embedding.eps), 1e-20, 1, "1e-8", NULL,
     "optimizer.embedding.kind=adagrad|rowwise_adagrad|" ADAMS, 0, "added to the square root"},
    {"optimizer.embedding.momentum", OPT_F64, AT(optimizer.embedding.momentum), 0, .999999, ".9",
     NULL, "optimizer.embedding.kind=momentum|nesterov", 0, "decay of the velocity"},
    {"optimizer.embedding.beta", OPT_F64, AT(optimizer.embedding.beta), 1e-6, 1e6, "1", NULL,
     "optimizer.embedding.kind=ftrl", 0,
     "added to the root of FTRL's sum of squares; a larger one slows the first steps"},
    {"optimizer.dense.kind", OPT_CHOICE, AT(optimizer.dense.kind), 0, 0, "adam", KINDS, NULL, 0,
     "optimizer of dense tensors (the row-wise ones are for tables only)"},
    {"optimizer.dense.rate", OPT_F64, AT(optimizer.dense.rate), 1e-12, 100, "1e-3", NULL, NULL, 0,
     "learning rate of dense tensors"},
    {"optimizer.dense.l2", OPT_F64, AT(optimizer.dense.l2), 0, 1e6, "0", NULL, NULL, 0,
     "L2 penalty (l2 / 2) * |w|^2 on dense tensors; adamw: decay by rate * l2; ftrl: lambda2"},
    {"optimizer.dense.beta1", OPT_F64, AT(optimizer.dense.beta1), 0, .999999, ".9", NULL,
     "optimizer.dense.kind=" ADAMS, 0, "decay of Adam's first moment"},
    {"optimizer.dense.beta2", OPT_F64, AT(optimizer.dense.beta2), 0, .99999999, ".999", NULL,
     "optimizer.dense.kind=" ADAMS, 0, "decay of Adam's second moment"},
    {"optimizer.dense.eps", OPT_F64, AT(optimizer.dense.eps), 1e-20, 1, "1e-8", NULL,
     "optimizer.dense.kind=adagrad|rowwise_adagrad|" ADAMS, 0, "added to the square root"},
    {"optimizer.dense.momentum", OPT_F64, AT(optimizer.dense.momentum), 0, .999999, ".9", NULL,
     "optimizer.dense.kind=momentum|nesterov", 0, "decay of the velocity"},
    {"optimizer.dense.beta", OPT_F64, AT(optimizer.dense.beta), 1e-6, 1e6, "1", NULL,
     "optimizer.dense.kind=ftrl", 0,
     "added to the root of FTRL's sum of squares; a larger one slows the first steps"},
    {"optimizer.damping", OPT_F64, AT(optimizer.damping), 0, 1000, "0", NULL, NULL, 0,
     "a gradient that is tau steps old moves by rate / (1 + damping * (tau - 1)); 0: off"},

    /* -- train -- */
    {"train.window", OPT_BOOL, AT(train.window), 0, 0, "false", NULL, "data.split.by=window", 0,
     "progressive validation: each window is judged first, then trained on, once; no plateau"},
    {"train.epochs", OPT_U64, AT(train.epochs), 1, 1e6, "1", NULL, BY_EPOCHS, F,
     "passes over the training log"},
    {"train.batch", OPT_U64, AT(train.batch), 1, 16e6, "4096", NULL, NULL, 0,
     "records a push; bsp, ssp: records of a step, over all workers together"},
    {"train.seed", OPT_U64, AT(train.seed), 0, 0, "1", NULL, NULL, 0,
     "initial values, shuffles and dropout are functions of it"},
    {"train.consistency", OPT_CHOICE, AT(train.consistency), 0, 0, "async", "async|bsp|ssp", NULL,
     0,
     "workers wait for each other: async, not at all; bsp, each step; ssp, beyond train.staleness"},
    {"train.staleness", OPT_U64, AT(train.staleness), 0, 64, "0", NULL,
     "train.consistency=async|ssp", 0,
     "batches in flight beyond one; ssp: and how many steps another worker may be behind"},
    {"train.slices", OPT_U64, AT(train.slices), 0, 65536, "0", NULL, "train.consistency=bsp", 0,
     "slices of a step, a power of two; fixes the bits for any number of workers; 0: one a worker"},
    {"train.dense", OPT_CHOICE, AT(train.dense), 0, 0, "ps", "ps|allreduce", NULL, 0,
     "dense gradients: ps, pushed like rows; allreduce, summed over the workers, one update a "
     "step"},
    {"train.shuffle", OPT_BOOL, AT(train.shuffle), 0, 0, "true", NULL, NULL, 0,
     "records in another order each epoch; by window, within each window"},
    {"train.clip", OPT_F64, AT(train.clip), 0, 1e9, "10", NULL, NULL, 0,
     "largest global norm of a push's gradient; 0: not clipped"},
    {"train.clip_row", OPT_F64, AT(train.clip_row), 0, 1e9, "0", NULL, NULL, 0,
     "largest norm of one row's gradient; 0: not clipped"},
    {"train.grad_max", OPT_F64, AT(train.grad_max), 1e-6, 1e30, "1e6", NULL, NULL, 0,
     "a gradient beyond this is refused by the servers, as a non-finite one is"},
    {"train.warmup", OPT_U64, AT(train.warmup), 0, 1e9, "0", NULL, NULL, 0,
     "steps over which the rate rises from 0"},
    {"train.metric", OPT_CHOICE, AT(train.metric), 0, 0, "auto", "auto|auc|ndcg|logloss|gauc",
     BY_EPOCHS, 0,
     "what decay, best cut and stop go by; ndcg: at 10; gauc: by user; auto: auc, of sequences "
     "ndcg"},
    {"train.task", OPT_TEXT, AT(train.task), 0, 0, "", NULL, NULL, 0,
     "name of the label that train.metric is of; empty: the first of data.fields"},
    {"train.ease", OPT_F64, AT(train.ease), 0, 1e9, "200", NULL, NULL, F,
     "lambda of the EASE baseline beside a result on sequences; 0: without it"},
    {"train.plateau.factor", OPT_F64, AT(train.plateau.factor), 1e-6, 1, ".1", NULL, BY_EPOCHS, 0,
     "the rate is multiplied by this when an epoch stalls"},
    {"train.plateau.rate_min", OPT_F64, AT(train.plateau.rate_min), 0, 1, "1e-6", NULL, BY_EPOCHS,
     0, "the rate falls no lower"},
    {"train.plateau.delta", OPT_F64, AT(train.plateau.delta), 0, 1, "1e-6", NULL, BY_EPOCHS, 0,
     "an improvement of train.metric below this is a stall"},
    {"train.plateau.patience", OPT_U64, AT(train.plateau.patience), 0, 1000, "2", NULL, BY_EPOCHS,
     0, "stalls in a row that stop the run; 0: never"},
    {"train.plateau.first", OPT_U64, AT(train.plateau.first), 0, 1e6, "1", NULL, BY_EPOCHS, 0,
     "stalls before this epoch (from 1) don't count"},

    /* -- cluster -- */
    {"cluster.servers", OPT_U64, AT(cluster.servers), 1, 1024, "1", NULL, NULL, F,
     "processes that hold parameters"},
    {"cluster.shards", OPT_U64, AT(cluster.shards), 0, 4096, "0", NULL, NULL, F,
     "parts of the parameters over all servers, a thread each; 0: as many as servers"},
    {"cluster.workers", OPT_U64, AT(cluster.workers), 1, 65536, "1", NULL, NULL, F,
     "processes that read logs and compute gradients"},
    {"cluster.cut_every", OPT_TIME, AT(cluster.cut_every), MS, 365 * DAY, "10s", NULL, NULL, F,
     "time from cut to cut; each epoch ends in one as well"},
    {"cluster.full_every", OPT_U64, AT(cluster.full_every), 1, 1e6, "8", NULL, NULL, F,
     "every so many cuts one is written in full; 1: all of them"},
    {"cluster.table_bytes", OPT_BYTES, AT(cluster.table_bytes), 0x1p20, 0x1p50, "4G", NULL, NULL, F,
     "memory budget of one shard's tables"},
    {"cluster.beat", OPT_TIME, AT(cluster.beat), MS, 60 * SECOND, "100ms", NULL, NULL, F,
     "time between two heartbeats"},
    {"cluster.hold", OPT_TIME, AT(cluster.hold), MS, HOUR, "1s", NULL, NULL, F,
     "workers not held by then: the cut is tried again later"},
    {"cluster.dead", OPT_TIME, AT(cluster.dead), 10 * MS, HOUR, "3s", NULL, NULL, F,
     "silence after which a peer counts as dead"},
    {"cluster.write", OPT_TIME, AT(cluster.write), MS, DAY, "30s", NULL, NULL, F,
     "a cut not written by then is given up"},
    {"cluster.recover", OPT_TIME, AT(cluster.recover), MS, DAY, "60s", NULL, NULL, F,
     "members missing after this time are named; after three times that the run ends"},
    {"cluster.orphan", OPT_TIME, AT(cluster.orphan), MS, DAY, "30s", NULL, NULL, F,
     "a process that hears no order for so long exits"},
    {"cluster.resend", OPT_TIME, AT(cluster.resend), MS, 60 * SECOND, "200ms", NULL, NULL, F,
     "unacknowledged messages are sent again after this, doubling to ten times as long"},
    {"cluster.bind", OPT_TEXT, AT(cluster.bind), 0, 0, "127.0.0.1", NULL, NULL, F,
     "where servers listen: an address of this host, an interface, or a network (10.0.0.0/24)"},
    {"cluster.agent", OPT_TEXT, AT(cluster.agent), 0, 0, "ssh -o BatchMode=yes", NULL, NULL, F,
     "how hosts of --hostfile are reached: called as AGENT HOST COMMAND"},
    {"cluster.metrics", OPT_TEXT, AT(cluster.metrics), 0, 0, "", NULL, NULL, F,
     "where the front serves /metrics: [HOST:]PORT, by default on loopback; empty: nowhere"},
    {"cluster.stream", OPT_TEXT, AT(cluster.stream), 0, 0, "", NULL, NULL, F,
     "where cuts are served to followers: [HOST:]PORT, by default on loopback; empty: nowhere"},
};

const struct option_table job_options = {rows, COUNT(rows)};

static const struct option table_rows[] = {
    {"name", OPT_TEXT, OT(name), 0, 0, NULL, NULL, NULL, 0,
     "table that differs: as `penstock check` names it; dense: all dense tensors"},
    {"kind", OPT_CHOICE, OT(optim.kind), 0, 0, INHERITED, KINDS, NULL, 0, "optimizer of the table"},
    {"rate", OPT_F64, OT(optim.rate), 1e-12, 100, INHERITED, NULL, NULL, 0,
     "learning rate of the table"},
    {"l2", OPT_F64, OT(optim.l2), 0, 1e6, INHERITED, NULL, NULL, 0,
     "L2 penalty (l2 / 2) * |w|^2 on the table; adamw: decay by rate * l2; ftrl: lambda2"},
    {"l2_mode", OPT_CHOICE, OT(optim.l2_mode), 0, 0, INHERITED, "exact|touched", NULL, 0,
     "exact: missed decay is replayed, as if every row were touched at every step; touched: only "
     "then"},
    {"l1", OPT_F64, OT(optim.l1), 0, 1e6, INHERITED, NULL, "kind=ftrl", 0,
     "FTRL's L1: weights whose sum of gradients stays below it are 0"},
    {"beta1", OPT_F64, OT(optim.beta1), 0, .999999, INHERITED, NULL, "kind=" ADAMS, 0,
     "decay of Adam's first moment"},
    {"beta2", OPT_F64, OT(optim.beta2), 0, .99999999, INHERITED, NULL, "kind=" ADAMS, 0,
     "decay of Adam's second moment"},
    {"eps", OPT_F64, OT(optim.eps), 1e-20, 1, INHERITED, NULL,
     "kind=adagrad|rowwise_adagrad|" ADAMS, 0, "added to the square root"},
    {"momentum", OPT_F64, OT(optim.momentum), 0, .999999, INHERITED, NULL, "kind=momentum|nesterov",
     0, "decay of the velocity"},
    {"beta", OPT_F64, OT(optim.beta), 1e-6, 1e6, INHERITED, NULL, "kind=ftrl", 0,
     "added to the root of FTRL's sum of squares; a larger one slows the first steps"},
};

const struct option_table job_table_options = {table_rows, COUNT(table_rows)};

static const struct option field_rows[] = {
    {"name", OPT_TEXT, OF(name), 0, 0, NULL, NULL, NULL, 0, "what the field is called"},
    {"type", OPT_CHOICE, OF(type), 0, 0, NULL, "id|ids|float|time|label|user|item|skip|history",
     NULL, 0,
     "ids: a bag of ids; user, item: an id that also names them; history: earlier ids of the user"},
    {"column", OPT_TEXT, OF(column), 0, 0, "", NULL, HAS_COLUMN, 0,
     "header name, or number from 0; empty: the field's name, without a header its position"},
    {"sep", OPT_TEXT, OF(sep), 0, 0, "|", NULL, "type=ids", 0,
     "what separates keys inside the cell"},
    {"hash", OPT_U64, OF(hash), 0, 0, "0", NULL, FEATURE_IDS, 0,
     "above 0: the key is a hash modulo this many"},
    {"min_count", OPT_U64, OF(min_count), 0, 0, "0", NULL, FEATURE_IDS, 0,
     "rarer ids of the training log share one key"},
    {"norm", OPT_CHOICE, OF(norm), 0, 0, "none", "none|log|standard|minmax", "type=float", 0,
     "log: sign(x) ln(1 + |x|); standard: mean 0, deviation 1; minmax: 0 to 1"},
    {"vocab", OPT_TEXT, OF(vocab), 0, 0, "", NULL, FEATURE_IDS, 0,
     "fields with the same vocab share embedding rows; empty: the field's name"},
    {"ids_max", OPT_U64, OF(ids_max), 1, 1e6, "1000", NULL, "type=ids", 0,
     "longer bags are cut to their first so many"},
    {"of", OPT_TEXT, OF(of), 0, 0, "", NULL, "type=history", 0,
     "field of type id, item or label: its earlier values of the same user, oldest first; label: "
     "0, 1"},
    {"max", OPT_U64, OF(max), 1, 1e4, "50", NULL, "type=history", 0, "most of them, the newest"},
    {"when", OPT_CHOICE, OF(when), 0, 0, "all", "all|positive", "type=history", 0,
     "of all earlier records, or of those whose (first) label is positive"},
    {"weight", OPT_F64, OF(weight), 0, 1e6, "1", NULL, "type=label", 0,
     "of the label's task in the loss (model.family=multitask)"},
};

const struct option_table job_field_options = {field_rows, COUNT(field_rows)};

static const struct option join_rows[] = {
    {"file", OPT_PATH, OJ(file), 0, 0, NULL, NULL, NULL, 0,
     "side file with one line an id: plain, gzip or zstd"},
    {"on", OPT_TEXT, OJ(on), 0, 0, NULL, NULL, NULL, 0, "column of the log that holds the id"},
    {"key", OPT_TEXT, OJ(key), 0, 0, "", NULL, NULL, 0,
     "column of the side file that holds the id; empty: named as in the log"},
    {"fields", OPT_TEXTS, OJ(fields), 0, 0, "[]", NULL, NULL, 0,
     "its columns that data.fields may name; empty: all of them"},
    {"delimiter", OPT_TEXT, OJ(delimiter), 0, 0, "", NULL, NULL, 0,
     "what separates its cells; empty: as in the log, else a comma"},
    {"columns", OPT_TEXTS, OJ(columns), 0, 0, "[]", NULL, NULL, 0,
     "names of its columns, where it has no header"},
};

const struct option_table job_join_options = {join_rows, COUNT(join_rows)};
