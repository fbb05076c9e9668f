# skpreload: `make ab` compares our server on glibc and on the shim,
# `make check` runs every test, `make help` lists the rest.

CC       ?= gcc
CXX      ?= g++
CFLAGS   ?= -O2 -g
CXXFLAGS ?= $(CFLAGS)
# Of another compiler a warning is no reason to have nothing; ours asks for
# WERROR=-Werror.
WERROR    =
WARN      = -Wall -Wextra $(WERROR) -Wshadow -Wpointer-arith -Wvla
CWARN     = $(WARN) -Wstrict-prototypes -Wmissing-prototypes
VERSION  := $(shell cat VERSION)
PREFIX   ?= /usr/local
B         = build

# The allocator: no builtin may turn our calloc into a call of calloc, the
# thread pointer must be one load away (failures.md 7, 8 and 36), and nothing
# leaves the library that exports.map does not name.
SKFLAGS = -std=gnu11 $(CWARN) -fPIC -fvisibility=hidden -fno-plt \
          -ftls-model=initial-exec -fno-builtin-malloc -fno-builtin-calloc \
          -fno-builtin-realloc -fno-builtin-free -fexceptions -fdata-sections \
          -fno-semantic-interposition -DSK_VERSION='"$(VERSION)"' -Icore -D_GNU_SOURCE

# Both are in libc from glibc 2.34 on.
LINKS     = -pthread -ldl

CORE    := $(wildcard core/*.c)
PRELOAD := $(wildcard preload/*.c)
UNITS   := $(wildcard tests/unit/*.c)
PROGS   := $(wildcard tests/progs/*.c tests/progs/*.cc)
BENCHES := $(wildcard tests/bench/*.c tests/bench/*.cc)

CORE_O    = $(CORE:%.c=$(B)/%.o)
PRELOAD_O = $(PRELOAD:%.c=$(B)/%.o)
UNIT_X    = $(UNITS:tests/unit/%.c=$(B)/unit/%)
PROG_X    = $(patsubst tests/progs/%,$(B)/progs/%,$(basename \
            $(filter-out tests/progs/lib%,$(PROGS)))) \
            $(patsubst tests/progs/%,$(B)/progs/%.so,$(basename \
            $(filter tests/progs/lib%,$(PROGS))))
BENCH_X   = $(patsubst tests/bench/%,$(B)/bench/%,$(basename \
            $(filter-out %/skserver.c,$(BENCHES))))

ALL_X     = $(B)/libskpreload.so $(B)/libskheap.so.1 $(B)/libskheap.a \
            $(B)/skserver $(B)/skab-minder $(B)/skab-clock.so

.PHONY: all help
all: $(ALL_X) ## libraries, server, tools (default)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n",$$1,$$2}' \
	    $(MAKEFILE_LIST)

# --- the libraries ---------------------------------------------------------

$(B)/libskpreload.so: $(CORE_O) $(PRELOAD_O) preload/exports.map
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $(CORE_O) $(PRELOAD_O) \
	    -Wl,--version-script=preload/exports.map -Wl,-z,nodelete \
	    -Wl,-z,relro,-z,now -Wl,-soname,libskpreload.so \
	    -Wl,--sort-section=name -Wl,-z,noseparate-code \
	    -Wl,--no-undefined $(LINKS)

$(B)/core/%.o: core/%.c VERSION Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(SKFLAGS) -MMD -MP -c -o $@ $<

$(B)/preload/%.o: preload/%.c VERSION Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(SKFLAGS) -MMD -MP -c -o $@ $<

$(B)/libskheap.so.1: $(CORE_O) core/libskheap.map
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $(CORE_O) \
	    -Wl,--version-script=core/libskheap.map -Wl,-z,nodelete \
	    -Wl,-z,relro,-z,now -Wl,-soname,libskheap.so.1 \
	    -Wl,--no-undefined $(LINKS)
	ln -sf libskheap.so.1 $(B)/libskheap.so

$(B)/libskheap.a: $(CORE_O)
	rm -f $@
	$(AR) rcs $@ $(CORE_O)

# --- tools ------------------------------------------------------------------

$(B)/skab-minder: $(wildcard scripts/lib/*.c) $(wildcard scripts/lib/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(CWARN) -o $@ $(filter %.c,$^) -pthread \
	    -lm

$(B)/skab-clock.so: scripts/lib/skab/clock.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(CWARN) -fPIC -shared -fno-builtin \
	    -ftls-model=initial-exec -o $@ $<

.PHONY: bench-contention bench-delay bench-threads ab ab-servers bench bench-memory bench-peers bench-heap hotpath
ab: ## our message server on glibc and on the shim, with a verdict
	scripts/setup ab
	$(MAKE) all
	scripts/skab --preset skserver --json $(B)/ab.json || [ $$? -le 3 ]

ab-servers: ## redis, nginx, memcached, postgresql, mariadb: the README's table
	scripts/setup programs
	$(MAKE) all
	scripts/ab-servers

bench: all benches ## every workload under glibc, the shim and the peers
	scripts/bench

bench-memory: all benches ## RSS over time, as a picture
	scripts/bench-memory

bench-heap: all $(B)/bench/heap_scene ## what heaps and queues promise, side by side
	scripts/bench-heap

bench-peers: ## installs the allocators that bench compares with
	scripts/setup bench-peers

bench-threads: all benches ## 64 threads on few processors, and one alone
	scripts/bench-threads

bench-delay: all benches ## what purge_delay costs and saves
	scripts/bench-delay

bench-contention: all benches ## what threads do to shared words and locks
	scripts/bench-contention

hotpath: all benches ## instructions per malloc+free, by callgrind
	scripts/hotpath

# --- programs that know nothing of us --------------------------------------

$(B)/skserver: tests/bench/skserver.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(CWARN) -MMD -MP -o $@ $< -pthread -lm

$(B)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(CWARN) -fno-builtin -MMD -MP -o $@ $< \
	    -pthread -lm

# Programs that know our library.
LINK_HEAP = -Icore -L$(B) -lskheap -Wl,-rpath,'$$ORIGIN/..' -pthread

$(B)/bench/heap_%: tests/bench/heap_%.c $(B)/libskheap.so.1
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(CWARN) -fno-builtin -MMD -MP -o $@ $< \
	    $(LINK_HEAP) -lm $(buildflags)

$(B)/examples/%: tests/examples/%.c $(B)/libskheap.so.1
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(CFLAGS) $(CWARN) -MMD -MP -o $@ $< $(LINK_HEAP)

$(B)/bench/%: tests/bench/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(CXXFLAGS) $(WARN) -MMD -MP -o $@ $< -pthread

# Test programs, one behaviour each; lib*.c become shared objects that the
# programs or ld.so load.  A file may ask for more with a line
# "// BUILD: -rdynamic -ldl".
buildflags = $(shell sed -n 's,^// BUILD: ,,p' $<)

$(B)/progs/lib%.so: tests/progs/lib%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O1 -g $(CWARN) -fno-builtin -fPIC -shared -MMD -MP \
	    -o $@ $< $(buildflags)

$(B)/progs/lib%.so: tests/progs/lib%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O1 -g $(WARN) -fPIC -shared -MMD -MP -o $@ $< \
	    $(buildflags)

$(B)/progs/%: tests/progs/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O1 -g $(CWARN) -fno-builtin -MMD -MP -o $@ $< \
	    -pthread $(buildflags)

$(B)/progs/%: tests/progs/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O1 -g $(WARN) -fno-builtin -MMD -MP -o $@ $< \
	    -pthread $(buildflags)

.PHONY: progs benches
progs: $(PROG_X) ## the programs of tests/progs
benches: $(BENCH_X) ## the programs of tests/bench

# --- installing --------------------------------------------------------------

LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
LIBS        = libskpreload.so libskheap.a libskheap.so.1 libskheap.so
HEADERS     = sk_heap.h sk_heap_inline.h sk_queue.h server_heap.h
MANPAGES    = $(wildcard man/*.[1-8])
D           = $(DESTDIR)

# Names are quoted: a blank in DESTDIR must not make rm look elsewhere.  What
# others may be using comes by mv: programs start meanwhile, on half a library
# of ld.so.preload's, and bash reads on in a file that it runs.
.PHONY: install uninstall
install: all ## into PREFIX (/usr/local), below DESTDIR
	install -d '$(D)$(LIBDIR)/pkgconfig' '$(D)$(INCLUDEDIR)'
	for lib in libskpreload.so libskheap.so.1 libskheap.a; do \
	    install -m 644 $(B)/$$lib '$(D)$(LIBDIR)/.skpreload.new' && \
	    mv '$(D)$(LIBDIR)/.skpreload.new' '$(D)$(LIBDIR)/'$$lib || exit 1; done
	ln -sf libskheap.so.1 '$(D)$(LIBDIR)/libskheap.so'
	install -d '$(D)$(PREFIX)/bin' '$(D)$(PREFIX)/lib/skpreload/skab'
	for tool in skab skrun; do \
	    sed -e 's,^bindir=$$,bindir="$(PREFIX)/bin",' \
	        -e 's,^libdir=$$,libdir="$(LIBDIR)",' scripts/$$tool \
	        >'$(D)$(PREFIX)/bin/.skpreload.new' && \
	    chmod 755 '$(D)$(PREFIX)/bin/.skpreload.new' && \
	    mv '$(D)$(PREFIX)/bin/.skpreload.new' \
	        '$(D)$(PREFIX)/bin/'$$tool || exit 1; done
	install -m 644 scripts/lib/skab/*.sh scripts/lib/skab/*.jq VERSION \
	    $(B)/skab-clock.so '$(D)$(PREFIX)/lib/skpreload/skab'
	install -m 755 $(B)/skab-minder $(B)/skserver \
	    '$(D)$(PREFIX)/lib/skpreload/skab'
	install -m 644 $(HEADERS:%=core/%) '$(D)$(INCLUDEDIR)'
	sed -e "s,@LIBDIR@,$(LIBDIR)," -e "s,@INCLUDEDIR@,$(INCLUDEDIR)," \
	    -e "s,@VERSION@,$(VERSION)," core/skheap.pc.in \
	    >'$(D)$(LIBDIR)/pkgconfig/skheap.pc'
	for page in $(MANPAGES); do \
	    install -D -m 644 $$page \
	        '$(D)$(MANDIR)'/man$${page##*.}/$${page##*/} || exit 1; done

uninstall: ## what install put there
	for file in $(LIBS) pkgconfig/skheap.pc; do \
	    rm -f '$(D)$(LIBDIR)/'$$file; done
	for file in $(HEADERS); do rm -f '$(D)$(INCLUDEDIR)/'$$file; done
	rm -f '$(D)$(PREFIX)/bin/skab' '$(D)$(PREFIX)/bin/skrun'
	rm -rf '$(D)$(PREFIX)/lib/skpreload'
	for page in $(MANPAGES); do \
	    rm -f '$(D)$(MANDIR)'/man$${page##*.}/$${page##*/}; done

# --- tests -----------------------------------------------------------------

# core without preload, plain and under each sanitizer.
san_plain =
san_asan  = -fsanitize=address,undefined -fno-sanitize-recover=all
san_tsan  = -fsanitize=thread
define unit_rules
$(B)/$(1)/core/%.o: core/%.c VERSION Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS) -O1 -g $$(SKFLAGS) -DSK_DEBUG=1 $$(san_$(1)) -MMD -MP \
	    -c -o $$@ $$<

$(B)/$(1)/unit/%: tests/unit/%.c $$(CORE:%.c=$(B)/$(1)/%.o)
	@mkdir -p $$(@D)
	$$(CC) -std=gnu11 -O1 -g $$(CWARN) -Icore -DSK_DEBUG=1 $$(san_$(1)) -MMD \
	    -MP -o $$@ $$(filter %.c %.o,$$^) -lcmocka -pthread
endef
$(foreach s,plain asan tsan,$(eval $(call unit_rules,$(s))))
UNIT_ALL = $(foreach s,plain asan tsan,$(UNITS:tests/unit/%.c=$(B)/$(s)/unit/%)) \
           $(ORDER_X)

# core as for ThreadSanitizer, with a run-time of ours in its place.
ORDER_RUN  = schedule kernel memory races
ORDER_WRAP = syscall sched_yield madvise clock_gettime
ORDER_X   := $(patsubst tests/order/%.c,$(B)/order/unit/%,$(filter-out \
             $(ORDER_RUN:%=tests/order/%.c),$(wildcard tests/order/*.c)))

$(B)/order/%.o: tests/order/%.c $(wildcard tests/order/*.h) Makefile
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g $(CWARN) -Wno-missing-prototypes \
	    -Wno-builtin-declaration-mismatch -D_GNU_SOURCE -c -o $@ $<

$(B)/order/unit/%: tests/order/%.c $(CORE:%.c=$(B)/tsan/%.o) \
    $(ORDER_RUN:%=$(B)/order/%.o)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O1 -g $(CWARN) -Icore -DSK_DEBUG=1 -fsanitize=thread \
	    -MMD -MP -c -o $@.o $<
	$(CC) -no-pie -o $@ $@.o $(filter %.o,$^) $(ORDER_WRAP:%=-Wl,--wrap=%) -lcmocka \
	    -pthread
.SECONDARY:

# --- fuzzing -----------------------------------------------------------------

# Targets are tests/fuzz/NAME_fuzz.c.  fuzz/ is clang's libFuzzer, replay/ runs
# given tapes.  The region is mapped by the heaps themselves: no leak checks.
FUZZ_SECONDS ?= 60
FUZZFLAGS = $(SKFLAGS) -O1 -g -DSK_DEBUG=1 -Wno-missing-prototypes
FUZZ_X = $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))

$(B)/fuzz/%: tests/fuzz/%.c $(CORE) $(wildcard core/*.h core/*.def tests/fuzz/*.h)
	@mkdir -p $(@D)
	clang $(FUZZFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< \
	    $(CORE) -pthread

$(B)/replay/%: tests/fuzz/%.c tests/fuzz/replay.c tests/fuzz/fuzz.h \
    $(CORE:%.c=$(B)/asan/%.o)
	@mkdir -p $(@D)
	$(CC) $(FUZZFLAGS) $(san_asan) -o $@ $(filter-out %.h,$^) -pthread

.PHONY: fuzz
fuzz: $(FUZZ_X) ## libFuzzer on core, FUZZ_SECONDS=60 each
	for target in $(FUZZ_X); do \
	    mkdir -p $$target.corpus && $$target -print_final_stats=1 \
	        -max_total_time=$(FUZZ_SECONDS) -max_len=1024 -len_control=0 \
	        -artifact_prefix=$$target. $$target.corpus || exit 1; done

.PHONY: check check-unit check-programs setup clean
check: setup ## all tests; ends with the line N passed, N failed, N skipped
	$(MAKE) -j2 all progs benches $(UNIT_ALL)
	scripts/check

check-programs: ## servers and large packages under the shim, long tests
	scripts/setup programs
	$(MAKE) all progs
	CHECK_BOUND=1800 scripts/check $(wildcard tests/*-heavy.bats)

check-unit: $(UNIT_ALL) ## only the unit tests: plain, sanitized, in any order
	scripts/check unit

setup: ## installs what the tests need (apt, as root), or names it
	scripts/setup check

clean: ## removes build/
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
