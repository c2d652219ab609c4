# Penstock: one Makefile, not recursive; every knob is documented here.
#
#   make                     the programs, into build/bin
#   make demo [JOB=FILE]     a shop, live: trained, served, asked and measured on this host; or train and serve a job of yours
#   make test                unit, sim, cluster and the fuzzers' corpora; ends with "N passed, N failed, N skipped"
#   make unit | sim | cluster          one kind of tests
#   make test-hosts | test-slurm       several hosts over ssh, a real Slurm: root, and launch/setup.sh --cluster
#   make lint                floors, doors, lists, headers, symbols, format, and the ten largest
#   make bench               the benchmarks, figures beside their ceilings
#   make fuzz                every fuzzer for SECONDS (needs clang)
#   make fmt                 clang-format over the tree
#   make install | uninstall
#   make clean | setup
#
# Knobs:
#   BUILD=build              where everything made goes; a private one keeps you apart from other builds
#   SAN=address|undefined|thread   sanitizers, in build-san-<name> unless BUILD says otherwise
#   ONLY='store wire_codec'  only tests, benches and fuzzers whose names begin so (make unit ONLY=store_table)
#   DEADLINE=s               for every test, instead of 120 s (600 s for tests/cluster)
#   SECONDS=60               for each fuzzer of `make fuzz`
#   JOBS=n                   tests that run at once (cluster tests run alone); default: the number of CPUs
#   SETUP=no                 don't look for missing packages first (launch/setup.sh)
#   V=1                      show the commands
#   OPT='-O2 -g'             optimisation; CFLAGS is added behind everything
#   PREFIX=/usr/local DESTDIR=
#   CC=gcc CLANG=clang CLANG_FORMAT=clang-format
#
# A room is a folder of sources and makes one archive; ROOMS_<room> below lists, in link order, what a test of
# that room links, OUT_<room> its outside libraries. A room that doesn't compile stops only who links it.
# A test's name begins with the name of its room: tests/unit/store_table.c links ROOMS_store.

# ---- knobs --------------------------------------------------------------------------------------

comma := ,
SAN ?=
BUILD ?= build$(if $(SAN),-san-$(subst $(comma),-,$(SAN)))
ifeq ($(strip $(BUILD)),)
$(error BUILD is empty)
endif
OPT ?= $(if $(SAN),-O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=undefined,-O2 -g)
ONLY ?=
DEADLINE ?=
SECONDS ?= 60
JOBS ?=
SETUP ?= yes
V ?= 0
PREFIX ?= /usr/local
DESTDIR ?=
CFLAGS ?=
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
CLANG_FORMAT ?= clang-format

# ---- how a file is compiled ---------------------------------------------------------------------

# No -march: one binary runs anywhere; vector code asks the CPU at run time. -ffp-contract=off keeps a result the
# same whether or not the compiler could have fused it. Outside headers that only one room may see (protobuf's
# output, mpi.h) are on the include path of that room alone: see DOOR below.
# _GNU_SOURCE is empty, so that a file that defines it itself is not a redefinition.
WARN   := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
STD    := -std=gnu11 -D_GNU_SOURCE= -I. -fno-math-errno -ffp-contract=off -pthread
COMPILE = $(CC) $(STD) $(OPT) $(WARN) $(CFLAGS)
LINK    = $(CC) $(OPT) -pthread -Wl,--as-needed $(LDFLAGS)

# Asked only when a recipe needs it, once, and after setup has run.
MPI_CFLAGS = $(eval MPI_CFLAGS := $$(subst -I,-isystem ,$$(shell pkg-config --cflags ompi-c)))$(MPI_CFLAGS)
MPI_LIBS   = $(eval MPI_LIBS := $$(shell pkg-config --libs ompi-c))$(MPI_LIBS)

# ---- rooms, in floors ---------------------------------------------------------------------------

ROOMS := base math nn feature data wire net metrics store optim snapshot serve client train worker launch

# The programs' mains stay out of the archives.
MAINS := ps/train/ps_main.c ps/serve/serve_main.c worker/worker_main.c launch/penstock.c ps/serve/client/follow.c

# By hand, in the order of the alphabet: the list says what a room is made of. A new source is linked once it is here;
# `make lint` compares the lists with the folders. (Tests need no list: a file in tests/ is a test.)
in = $(patsubst %,$(1)/%.c,$(2))

SRC_base     := $(call in,common/base, \
    bytes clock crc32c epoch errbuf file hash job job_check job_join job_optim job_options job_task json json_write \
    log mem option options plan progress queue rng stats status stream thread utf8 yaml)
SRC_math     := $(call in,common/math,gemm gemm_avx512 inverse merge vec vec_avx2 vec_avx512 vec_plain)
SRC_nn       := $(call in,common/nn, \
    epilogue graph model model_cnn model_dcnv2 model_deepfm model_din model_dlrm model_finalmlp model_finalnet model_fm \
    model_gru model_lr model_lstm model_mlp model_multitask model_sasrec model_widedeep op_activation op_add op_attention \
    op_bag_sum op_batch_norm op_bce op_bce_pair op_bilinear op_columns op_concat op_conv op_cross op_dice op_embed \
    op_factorized op_field_gate op_fm op_gate op_gru op_imitate op_layer_norm op_linear op_lstm op_match op_pairs \
    op_pool op_softmax op_tokens rank tokens)
SRC_feature  := $(call in,common/feature,encode fit keyset number schema)
SRC_data     := $(call in,common/data, \
    baselines batch beside cache cache_writer catalog columns convert dataset deal duckdb events history inspect inspect_column \
    inspect_named inspect_text intake joins lines popularity popularity_rank quarantine reader_json reader_libsvm reader_pairs \
    reader_query reader_text reader_tfrecord records segments sequence shop shop_people shop_world shop_write sources split tail windows)
SRC_wire     := $(call in,common/wire,codec_decode codec_encode frame msg schedule tfevents)
SRC_net      := $(call in,common/net, \
    endpoint endpoint_recv head_link http http_conn http_loop http_rules http_server listen_address listen_clock outbox routes \
    run_dir wake)
SRC_metrics  := $(call in,common/metrics, \
    ab_assign ab_calc ab_cuped ab_effect ab_online ab_sequence ab_srm ab_sums ab_users auc experiment gauc logloss \
    prometheus ranking special)
SRC_store    := $(call in,ps/store,index slab table)
SRC_optim    := $(call in,ps/optim, \
    adagrad adam adamw amsgrad ftrl gradient lanes_avx2 lanes_avx512 momentum optim rowwise_adagrad rowwise_adam \
    sgd stat steps)
SRC_snapshot := $(call in,ps/snapshot, \
    chain cut cut_file cut_hash cut_list diff fence manifest manifest_dir names part place prune restore \
    safetensors undo verify)
SRC_serve    := $(call in,ps/serve, \
    call cells exposure fetcher follow http_experiments http_health http_infer http_metrics http_openapi http_routes \
    http_service http_versions infer interaction journal model_view node online online_report popular predict registry \
    replica rows score seen service service_check service_experiment service_recommend service_score service_shadow \
    service_write shelf source_dir source_tcp stage state state_apply version versions)
SRC_client   := $(call in,ps/serve/client,penstock_replica)
SRC_train    := $(call in,ps/train, \
    applier clock cut_writer handles head_check head_commit head_cut head_epoch head_lease head_log head_order \
    head_peers head_report head_step head_thread live ps_run recipe recv_order recv_pull recv_push shard_cut \
    shard_load shard_log shard_state shard_step shard_thread stream stream_thread)
SRC_worker   := $(call in,worker, \
    baseline candidates client_order client_pull client_push client_state client_step comm ease evaluate feeder \
    flight io_thread judge pipeline plan_mode slices trainer)
SRC_launch   := $(call in,launch, \
    ab_report ab_trials args ask batch board cmd_ab cmd_check cmd_data cmd_eval cmd_serve cmd_serving cmd_simulate cmd_snap \
    cmd_status cmd_submit cmd_train crowd crowd_visit exporter final final_windows folds follower hosts node_ask place prepare \
    run simulate tally visit watch)
PROTO        := $(addprefix proto/,cluster.proto envelope.proto stream.proto train.proto)

# Who stands on whom, in link order: what a room's tests link.
ROOMS_base     := base
ROOMS_math     := math base
ROOMS_metrics  := metrics base
ROOMS_feature  := feature base
ROOMS_wire     := wire base
ROOMS_nn       := nn math base
ROOMS_data     := data feature metrics math base
ROOMS_net      := net wire base
ROOMS_store    := store wire math base
ROOMS_optim    := optim wire math base
ROOMS_snapshot := snapshot store wire math base
ROOMS_serve    := serve snapshot store nn net data feature metrics wire math base
ROOMS_client   := client serve snapshot store nn net data feature metrics wire math base
ROOMS_train    := train optim snapshot store net data feature metrics wire math base
ROOMS_worker   := worker nn snapshot store net data feature metrics wire math base
ROOMS_launch   := launch snapshot store net data feature metrics wire math base
ROOMS_house    := base
# The sim runs the shipped cores of both sides; worker/comm.c stays in its archive, unlinked, for nothing asks for it.
ROOMS_sim      := worker train optim snapshot store nn data feature metrics net wire math base

OUT_base   := -lyaml -ljansson -lxxhash -lz -lzstd -lm
OUT_math   := -lopenblas
OUT_wire   := -lprotobuf-c
OUT_net    := -lzmq -lmicrohttpd
OUT_worker  = $(MPI_LIBS)
OUT_launch := -lcurl

# The programs: penstock-ps gets no OpenBLAS and no MPI, and must link without.
ROOMS_penstock-ps     := $(ROOMS_train)
ROOMS_penstock-serve  := $(ROOMS_serve)
ROOMS_penstock-worker := $(ROOMS_worker)
ROOMS_penstock        := $(ROOMS_launch)
OUT_penstock-ps        = $(OUT_net) $(OUT_wire) $(OUT_base)
OUT_penstock-serve     = $(OUT_net) $(OUT_wire) $(OUT_math) $(OUT_base)
OUT_penstock-worker    = $(OUT_worker) $(OUT_net) $(OUT_wire) $(OUT_math) $(OUT_base)
OUT_penstock           = $(OUT_launch) $(OUT_net) $(OUT_wire) $(OUT_base)
MAIN_penstock-ps      := ps/train/ps_main.c
MAIN_penstock-serve   := ps/serve/serve_main.c
MAIN_penstock-worker  := worker/worker_main.c
MAIN_penstock         := launch/penstock.c
PROGRAMS := $(addprefix $(BUILD)/bin/,penstock penstock-ps penstock-serve penstock-worker)
# What other programs link: one shared library of the same sources, of which only penstock_replica.h is visible.
LIBRARY  := $(BUILD)/lib/libpenstock-replica.so.1

# What a fuzzer stands on, when its name doesn't begin with a room's, or it needs more than that room.
FUZZ_cache         := $(ROOMS_data)
FUZZ_http_rules    := $(ROOMS_net)
FUZZ_inspect       := $(ROOMS_data)
FUZZ_job           := $(ROOMS_base)
FUZZ_json          := $(ROOMS_base)
FUZZ_manifest      := $(ROOMS_snapshot)
FUZZ_reader_libsvm := $(ROOMS_data)
FUZZ_reader_named  := $(ROOMS_data)
FUZZ_reader_text   := $(ROOMS_data)
FUZZ_safetensors   := $(ROOMS_snapshot)
FUZZ_serve_infer   := $(ROOMS_serve)
FUZZ_stream        := $(ROOMS_base)
FUZZ_wire_frames   := $(ROOMS_net)

# What single tests need besides: EXTRA_<test> more objects (sources), LINK_<test> more flags for the linker.
# LINK_base_mem := -Wl,--wrap=malloc
EXTRA_serve_stream := ps/train/stream.c

# ---- the targets --------------------------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.PHONY: all demo test test-hosts test-slurm lint unit sim cluster bench fuzz fmt install uninstall clean setup \
        build-unit build-sim build-fuzz-plain build-bench build-house build-tools FORCE

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)')

all: $(PROGRAMS) $(LIBRARY) $(BUILD)/bin/penstock-follow

setup:
	$(if $(filter no,$(SETUP)),@true,@launch/setup.sh)

demo: all
	launch/demo.sh $(BUILD) $(JOB)

clean:
	rm -rf $(BUILD)

# ---- objects and archives -----------------------------------------------------------------------

# Three flavours of the same sources: $(BUILD)/obj for everything, $(BUILD)/fuzz for libFuzzer (clang), and
# $(BUILD)/sim for the two rooms of the cores, in which tests/sim can plant bugs (common/wire/sim_bug.h).
FUZZ_COMPILE = $(CLANG) $(STD) -O1 -g -fno-omit-frame-pointer -Wall -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=undefined -DPENSTOCK_FUZZ

# clang 14 ignores `#pragma GCC target("avx2,fma")`: the same as options, read from the file itself.
clang_target = sed -n 's/^\#pragma GCC target("\(.*\)")/\1/p' $< | tr , '\n' | sed 's/^/-m/'

# Files whose content is the command line: they change, and what depends on them is made again, when it does.
remember = @mkdir -p $(@D); printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' >$@

$(BUILD)/flags: FORCE | setup
	$(call remember,$(COMPILE) $(LINK))
$(BUILD)/fuzz/flags: FORCE | setup
	@command -v $(CLANG) >/dev/null || { echo "make fuzz needs clang: launch/setup.sh --dev"; exit 1; }
	$(call remember,$(FUZZ_COMPILE))

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | setup
	@mkdir -p $(@D)
	$(call say,cc,$<)
	$(Q)$(COMPILE) $(DOOR) -MMD -MP -c $< -o $@

$(BUILD)/sim/obj/%.o: %.c $(BUILD)/flags | setup
	@mkdir -p $(@D)
	$(call say,cc,$< (planted bugs))
	$(Q)$(COMPILE) -DPENSTOCK_SIM_BUGS $(DOOR) -MMD -MP -c $< -o $@

$(BUILD)/fuzz/obj/%.o: %.c $(BUILD)/fuzz/flags | setup
	@mkdir -p $(@D)
	$(call say,clang,$<)
	$(Q)$(FUZZ_COMPILE) $(DOOR) $$($(clang_target)) -MMD -MP -c $< -o $@

$(BUILD)/pic/obj/%.o: %.c $(BUILD)/flags | setup
	@mkdir -p $(@D)
	$(call say,cc,$< (shared))
	$(Q)$(COMPILE) -fPIC -fvisibility=hidden $(DOOR) -MMD -MP -c $< -o $@

# The contract between processes, generated. Our warnings are not for generated code.
GEN   := $(BUILD)/gen
PB_C  := $(PROTO:%.proto=$(GEN)/%.pb-c.c)
PB_H  := $(PB_C:.c=.h)
$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: %.proto $(PROTO) | setup
	@mkdir -p $(@D)
	$(call say,protoc,$<)
	$(Q)protoc-c --c_out=$(GEN) $<

$(BUILD)/obj/gen/%.o: $(GEN)/%.c $(BUILD)/flags $(PB_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) $(OPT) -isystem $(GEN) -w -c $< -o $@
$(BUILD)/pic/obj/gen/%.o: $(GEN)/%.c $(BUILD)/flags $(PB_H)
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) $(OPT) -fPIC -fvisibility=hidden -isystem $(GEN) -w -c $< -o $@
$(BUILD)/fuzz/obj/gen/%.o: $(GEN)/%.c $(BUILD)/fuzz/flags $(PB_H)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_COMPILE) -isystem $(GEN) -w -c $< -o $@

# One archive a room: (room, flavour folder).
define room_rules
OBJ_$(1)_$(2) := $$(SRC_$(1):%.c=$$(BUILD)/$(2)%.o) $(if $(filter wire,$(1)),$$(PB_C:$$(GEN)/%.c=$$(BUILD)/$(2)gen/%.o))
$$(BUILD)/$(2)lib/$(1).list: FORCE
	$$(call remember,$$(OBJ_$(1)_$(2)))
$$(BUILD)/$(2)lib/lib$(1).a: $$(OBJ_$(1)_$(2)) $$(BUILD)/$(2)lib/$(1).list
	$$(call say,ar,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$(OBJ_$(1)_$(2))
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$r,obj/)))
$(foreach r,$(ROOMS),$(eval $(call room_rules,$r,fuzz/obj/)))
$(foreach r,$(ROOMS_client),$(eval $(call room_rules,$r,pic/obj/)))
SIM_ROOMS := worker train
$(foreach r,$(SIM_ROOMS),$(eval $(call room_rules,$r,sim/obj/)))

# The doors: these sources alone see these headers.
wire_objects = $(filter-out $(BUILD)/%/gen/%,$(OBJ_wire_obj/) $(OBJ_wire_pic/obj/) $(OBJ_wire_fuzz/obj/))
$(wire_objects): $(PB_H)
$(wire_objects): private DOOR = -isystem $(GEN)
$(BUILD)/obj/worker/comm.o $(BUILD)/sim/obj/worker/comm.o: private DOOR = $(MPI_CFLAGS)

archives = $(1:%=$(BUILD)/obj/lib/lib%.a)
sim_archives = $(SIM_ROOMS:%=$(BUILD)/sim/obj/lib/lib%.a) $(call archives,$(filter-out $(SIM_ROOMS),$(ROOMS_sim)))

# $(call link,objects,rooms,outside libraries)
define link
	@mkdir -p $(@D)
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $(1) $(call archives,$(2)) $(3)
endef

define program_rules
$$(BUILD)/bin/$(1): $$(MAIN_$(1):%.c=$$(BUILD)/obj/%.o) $$(call archives,$$(ROOMS_$(1))) $$(BUILD)/flags
	$$(call link,$$(MAIN_$(1):%.c=$$(BUILD)/obj/%.o),$$(ROOMS_$(1)),$$(OUT_$(1)))
endef
$(foreach p,penstock penstock-ps penstock-serve penstock-worker,$(eval $(call program_rules,$p)))

# The shared library, and the example that links it as anybody would.
pic_archives := $(ROOMS_client:%=$(BUILD)/pic/obj/lib/lib%.a)
$(LIBRARY): $(pic_archives) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,link,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(@F) -Wl,-z,defs -o $@ -Wl,--whole-archive $(firstword $(pic_archives)) \
	    -Wl,--no-whole-archive $(wordlist 2,99,$(pic_archives)) $(OUT_net) $(OUT_wire) $(OUT_math) $(OUT_base)
	$(Q)ln -sf $(@F) $(@:.1=)
$(BUILD)/bin/penstock-follow: $(BUILD)/obj/ps/serve/client/follow.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link,$@)
	$(Q)$(LINK) -o $@ $< -L$(BUILD)/lib -lpenstock-replica -Wl,-rpath,'$$ORIGIN/../lib'
$(BUILD)/obj/ps/serve/client/follow.o: private DOOR = -Ips/serve/client

# ---- tests --------------------------------------------------------------------------------------

# A test program is $(BUILD)/tests/<kind>/<name>, from tests/<kind>/<name>.c, its room's helpers
# tests/support/<room>_*.c, HELPERS_<room>, and EXTRA_<name>.
only    = $(if $(ONLY),$(filter $(addsuffix %,$(ONLY)),$(1)),$(1))
names   = $(call only,$(patsubst tests/$(1)/%.c,%,$(wildcard tests/$(1)/*.c)))
room_of = $(firstword $(subst _, ,$(1)))
known   = $(if $(ROOMS_$(1)),$(1),$(error tests: '$(2)' does not begin with the name of a room ($(ROOMS) house)))
outs    = $(foreach r,$(ROOMS_$(1)),$(OUT_$r))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
helpers = $(call objects,$(wildcard tests/support/$(1)_*.c) $(HELPERS_$(1)))
HELPERS_serve := tests/support/snapshot_world.c

UNIT    := $(call names,unit)
SIM     := $(call names,sim)
FUZZERS := $(patsubst fuzz_%,%,$(filter fuzz_%,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))))
FUZZERS := $(call only,$(FUZZERS))
BENCH   := $(call names,bench)
CLUSTER := $(foreach t,$(call only,$(patsubst tests/cluster/%.sh,%,$(wildcard tests/cluster/*.sh))),tests/cluster/$t.sh)
BENCH_SH := $(foreach t,$(call only,$(patsubst tests/bench/%.sh,%,$(wildcard tests/bench/*.sh))),tests/bench/$t.sh)

# Tests may look behind every door.
$(BUILD)/obj/tests/%.o: private DOOR = -isystem $(GEN)
$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/unit/wire_*.c tests/support/wire_*.c)): $(PB_H)

# The programs of a kind: (kind, room of a name or a fixed one).
unit_parts  = $(BUILD)/obj/tests/unit/$(1).o $(call objects,$(EXTRA_$(1))) $(call helpers,$(call room_of,$(1)))
sim_parts   = $(BUILD)/obj/tests/sim/$(1).o $(call objects,$(EXTRA_$(1))) $(call helpers,sim)
bench_room  = $(if $(ROOMS_$(call room_of,$(1))),$(call room_of,$(1)),sim)
bench_parts = $(BUILD)/obj/tests/bench/$(1).o $(call objects,$(EXTRA_$(1))) $(call helpers,bench)

$(UNIT:%=$(BUILD)/tests/unit/%): $(BUILD)/tests/unit/%: \
    $$(call unit_parts,$$*) $$(call archives,$$(ROOMS_$$(call known,$$(call room_of,$$*),$$*))) $(BUILD)/flags
	$(call link,$(call unit_parts,$*),$(ROOMS_$(call room_of,$*)),-lcmocka $(call outs,$(call room_of,$*)) $(LINK_$*))

$(SIM:%=$(BUILD)/tests/sim/%): $(BUILD)/tests/sim/%: \
    $$(call sim_parts,$$*) $$(sim_archives) $(BUILD)/flags
	$(call link,$(call sim_parts,$*) $(sim_archives),,-lcmocka $(call outs,sim) $(LINK_$*))

$(BENCH:%=$(BUILD)/tests/bench/%): $(BUILD)/tests/bench/%: \
    $$(call bench_parts,$$*) $$(call archives,$$(ROOMS_$$(call bench_room,$$*))) $(BUILD)/flags
	$(call link,$(call bench_parts,$*),$(ROOMS_$(call bench_room,$*)),$(call outs,$(call bench_room,$*)) $(LINK_$*))

# A fuzzer twice: with a plain main over its corpus (make test, no clang), and with libFuzzer (make fuzz).
fuzz_rooms = $(or $(FUZZ_$(1)),$(ROOMS_$(call room_of,$(1))),$(error tests/fuzz: FUZZ_$(1) in the Makefile says what it links))
fuzz_outs  = $(foreach r,$(call fuzz_rooms,$(1)),$(OUT_$r))
fuzz_plain = $(BUILD)/obj/tests/fuzz/fuzz_$(1).o $(BUILD)/obj/tests/support/fuzz_main.o
fuzz_libs  = $(patsubst %,$(BUILD)/fuzz/obj/lib/lib%.a,$(call fuzz_rooms,$(1)))

$(FUZZERS:%=$(BUILD)/tests/fuzz/%): $(BUILD)/tests/fuzz/%: \
    $$(call fuzz_plain,$$*) $$(call archives,$$(call fuzz_rooms,$$*)) $(BUILD)/flags
	$(call link,$(call fuzz_plain,$*),$(call fuzz_rooms,$*),$(call fuzz_outs,$*))

$(FUZZERS:%=$(BUILD)/fuzz/bin/%): $(BUILD)/fuzz/bin/%: $(BUILD)/fuzz/obj/tests/fuzz/fuzz_%.o $$(call fuzz_libs,$$*)
	@mkdir -p $(@D)
	$(call say,link,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $< $(call fuzz_libs,$*) \
	    -Wl,--as-needed $(call fuzz_outs,$*)

# Programs that scripts of tests/cluster drive: tests/cluster/<room>_<name>.c.
TOOLS := $(patsubst tests/cluster/%.c,%,$(wildcard tests/cluster/*.c))
tool_parts = $(call objects,tests/cluster/$(1).c)
$(TOOLS:%=$(BUILD)/tests/cluster/%): $(BUILD)/tests/cluster/%: \
    $$(call tool_parts,$$*) $$(call archives,$$(ROOMS_$$(call known,$$(call room_of,$$*),$$*))) $(BUILD)/flags
	$(call link,$(call tool_parts,$*),$(ROOMS_$(call room_of,$*)),$(call outs,$(call room_of,$*)))
build-tools: $(TOOLS:%=$(BUILD)/tests/cluster/%)

# The program that must fail: the runner's own test shows with it that a failure is reported as one.
MUST_FAIL := $(BUILD)/tests/house/must_fail
$(MUST_FAIL): $(BUILD)/obj/tests/house/must_fail.o $(BUILD)/flags
	$(call link,$<,,-lcmocka)

HOUSE := $(if $(filter-out house%,$(firstword $(ONLY))),,script:tests/house/runner_test.sh)

RUN = BUILD=$(abspath $(BUILD)) MUST_FAIL=$(abspath $(MUST_FAIL)) tests/support/run_tests.sh \
      $(if $(JOBS),--jobs $(JOBS)) $(if $(DEADLINE),--deadline $(DEADLINE))

UNIT_RUN    := $(HOUSE) $(UNIT:%=unit:$(BUILD)/tests/unit/%)
SIM_RUN     := $(SIM:%=sim:$(BUILD)/tests/sim/%)
CLUSTER_RUN := $(CLUSTER:%=cluster:%)
FUZZ_RUN    := $(FUZZERS:%=fuzz:$(BUILD)/tests/fuzz/%)

build-house: $(MUST_FAIL)
build-unit: $(UNIT:%=$(BUILD)/tests/unit/%) $(if $(HOUSE),build-house)
build-sim: $(SIM:%=$(BUILD)/tests/sim/%)
build-fuzz-plain: $(FUZZERS:%=$(BUILD)/tests/fuzz/%)
build-bench: $(BENCH:%=$(BUILD)/tests/bench/%)

unit: build-unit
	@$(RUN) $(UNIT_RUN)
sim: build-sim
	@$(RUN) $(SIM_RUN)
cluster: all build-tools
	@$(RUN) $(CLUSTER_RUN)
test: all build-tools build-unit build-sim build-fuzz-plain
	@$(RUN) $(UNIT_RUN) $(SIM_RUN) $(FUZZ_RUN) $(CLUSTER_RUN)

# Several hosts, in namespaces of their own; skipped where the kernel, the user or the packages don't allow it.
test-hosts test-slurm: test-%: all
	@$(RUN) cluster:tests/cluster-extra/$*.sh

bench: all build-bench
	@set -e; for b in $(BENCH:%=$(BUILD)/tests/bench/%) $(BENCH_SH); do \
	    echo "== $$b"; BUILD=$(abspath $(BUILD)) OPENBLAS_NUM_THREADS=1 ./$$b; done

fuzz: $(FUZZERS:%=$(BUILD)/fuzz/bin/%)
	@set -e; for f in $(FUZZERS); do \
	    mkdir -p $(BUILD)/fuzz/corpus/$$f tests/fuzz/corpus/$$f; \
	    echo "== fuzz $$f, $(SECONDS) s"; \
	    $(BUILD)/fuzz/bin/$$f -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	        -artifact_prefix=$(BUILD)/fuzz/$$f- $(BUILD)/fuzz/corpus/$$f tests/fuzz/corpus/$$f; \
	done

# ---- the house ----------------------------------------------------------------------------------

lint: all
	@CC='$(CC)' CLANG_FORMAT='$(CLANG_FORMAT)' BUILD=$(abspath $(BUILD)) FLAGS='$(STD) $(WARN)' \
	    SOURCES='$(foreach r,$(ROOMS),$(SRC_$r)) $(PROTO)' MAINS='$(MAINS)' tests/house/lint.sh

fmt:
	@command -v $(CLANG_FORMAT) >/dev/null || { echo "make fmt needs clang-format: launch/setup.sh --dev"; exit 1; }
	$(Q)git ls-files -co --exclude-standard -- '*.c' '*.h' | xargs $(CLANG_FORMAT) -i

# ---- install ------------------------------------------------------------------------------------

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/penstock/jobs $(DESTDIR)$(PREFIX)/share/doc/penstock
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/penstock/python
	install -m 644 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib
	ln -sf $(notdir $(LIBRARY)) $(DESTDIR)$(PREFIX)/lib/$(notdir $(LIBRARY:.1=))
	install -m 644 ps/serve/client/penstock_replica.h $(DESTDIR)$(PREFIX)/include
	sed 's|@PREFIX@|$(PREFIX)|' ps/serve/client/penstock-replica.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/penstock-replica.pc
	install -m 644 ps/serve/client/penstock.py $(DESTDIR)$(PREFIX)/share/penstock/python
	install -m 644 ps/serve/client/follow.c $(DESTDIR)$(PREFIX)/share/doc/penstock
	$(if $(wildcard launch/jobs/*.yaml),install -m 644 $(wildcard launch/jobs/*.yaml) $(DESTDIR)$(PREFIX)/share/penstock/jobs)
	install -m 644 LICENSE $(wildcard README.md) $(DESTDIR)$(PREFIX)/share/doc/penstock

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,penstock penstock-ps penstock-serve penstock-worker)
	rm -rf $(DESTDIR)$(PREFIX)/share/penstock $(DESTDIR)$(PREFIX)/share/doc/penstock
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,lib/libpenstock-replica.so lib/libpenstock-replica.so.1 \
	    lib/pkgconfig/penstock-replica.pc include/penstock_replica.h)

-include $(shell find $(BUILD)/obj $(BUILD)/pic/obj $(BUILD)/sim/obj $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)
