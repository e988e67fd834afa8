package arena

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// TestFailedReadingKeepsTheLimit: where a reading fails because the process has no file descriptors
// left, the limit doesn't rise to what the machine has. A level that can't be read at all doesn't
// keep the others from counting.
func TestFailedReadingKeepsTheLimit(t *testing.T) {
	total, failure := int64(8*gib), error(nil)
	host := testWatch(func() (int64, error) { return total, failure }, func() int64 { return 0 })
	a := open(t, Config{Limit: FollowMemory, watch: host})
	for _, c := range []struct {
		total   int64
		failure error
		want    int64
	}{
		{64 * gib, errors.Join(os.NewSyscallError("open", syscall.EMFILE)), 8 * gib},
		{0, syscall.ENFILE, 8 * gib},
		{4 * gib, syscall.EMFILE, 4 * gib},
		{64 * gib, syscall.EACCES, 64 * gib},
		{0, nil, Unlimited},
	} {
		total, failure = c.total, c.failure
		a.SetLimit(FollowMemory)
		if got := a.Limit(); got != followedLimit(c.want, 0) {
			t.Errorf("%d bytes and %v: a limit of %d bytes, want %d", c.total, c.failure, got, followedLimit(c.want, 0))
		}
	}
}

// TestAvailableFollows: what Available returns is read once, and each second while the arena has
// pages and no limit.
func TestAvailableFollows(t *testing.T) {
	total, readings := int64(64*gib), 0
	host := testHost(func() int64 { readings++; return total })
	a := open(t, Config{watch: host})
	a.Free(alloc(t, a, 0, 0).Page)
	if host.timer.Armed() || readings != 0 {
		t.Errorf("%d readings that are of no use", readings)
	}
	expect := func(when string, bytes int64, n int, armed bool) {
		t.Helper()
		if got := a.Available(); got != bytes || readings != n || host.timer.Armed() != armed {
			t.Errorf("%s: %d MiB in %d readings, armed: %v, want %d, %d, %v",
				when, got/mib, readings, host.timer.Armed(), bytes/mib, n, armed)
		}
	}
	expect("with a dirty page", 64*gib, 1, true)
	total = 8 * gib
	expect("before a tick", 64*gib, 1, true)
	host.timer.Fire()
	expect("after it", 8*gib, 2, true)
	a.Purge(0)
	host.timer.Fire()
	expect("without pages", 8*gib, 3, false)
	run := alloc(t, a, 0, 0)
	expect("with a page", 8*gib, 3, true)
	a.SetLimit(gib)
	host.timer.Fire()
	expect("with a limit", 8*gib, 4, false)
	a.SetLimit(Unlimited)
	expect("without one", 8*gib, 4, true)
	total = 0
	host.timer.Fire()
	expect("on an unknown host", Unlimited, 5, true)
	a.Free(run.Page)
}

// TestCouplingFollowsMemory: an automatic Total is read again each second while a coupled arena has
// memory, also when that arena has a limit of its own. A Total by hand stays.
func TestCouplingFollowsMemory(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	total := int64(64 * gib)
	host := testHost(func() int64 { return total })
	a := open(t, Config{Limit: gib, watch: host})
	b := open(t, Config{Limit: gib, watch: host})
	expect := func(when string, want int64, armed bool) {
		t.Helper()
		if got := goLimit(); got != want || host.timer.Armed() != armed {
			t.Errorf("%s: Go's limit is %d MiB, armed: %v, want %d, %v", when, got/mib, host.timer.Armed(), want/mib, armed)
		}
	}
	start := func(cfg Coupling) (stop func()) {
		t.Helper()
		stop, err := CoupleGoMemLimit(cfg, a, b)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		return stop
	}
	stop := start(Coupling{Reserve: None})
	expect("without pages", 64*gib, false)
	hold(t, b, 4*gib)
	run := alloc(t, a, 0, 0)
	defer a.Free(run.Page)
	expect("with pages", 60*gib, true)
	total = 16 * gib
	host.timer.Fire()
	expect("with less memory", 12*gib-mem.PageSize, true)
	total = 0
	host.timer.Fire()
	expect("on an unknown host", math.MaxInt64-4*gib-mem.PageSize, true)
	total = 32 * gib
	host.timer.Fire()
	stop()
	expect("stopped", math.MaxInt64, true)
	host.timer.Fire()
	expect("later", math.MaxInt64, false)
	stop = start(Coupling{Reserve: 24 * gib})
	expect("with pages at the start", 4*gib-mem.PageSize, true)
	total = 16 * gib
	host.timer.Fire()
	expect("with less than the reserve", 0, true)
	stop()
	start(Coupling{Total: 64 * gib, Reserve: None})
	host.timer.Fire()
	expect("with a total by hand", 60*gib-mem.PageSize, false)
}

// TestLimitsConverge: a followed limit and a coupling of the same arena settle with the first
// reading after a change, however much of their limits Go's heap and the arena use, and together
// stay within what the process may have. A limit that fell makes room for Go's live heap, not for
// all that Go's limit would let it become, and Go's limit makes room for charged pages, not for the
// arena's limit: else each would push the other.
func TestLimitsConverge(t *testing.T) {
	for _, c := range []struct{ heap, pages int64 }{ // what the program wants
		{gib, gib}, {100 * gib, gib}, {gib, 100 * gib}, {100 * gib, 100 * gib}, {12 * gib, 20 * gib},
	} {
		t.Run(fmt.Sprintf("heap %d GiB, pages %d GiB", c.heap/gib, c.pages/gib), func(t *testing.T) {
			ownLimit(t, math.MaxInt64)
			total, live, held := int64(0), int64(0), int64(0)
			host := testWatch(func() (int64, error) { return total, nil }, func() int64 { return live })
			total = 40 * gib
			a := open(t, Config{Limit: FollowMemory, watch: host})
			stop, err := CoupleGoMemLimit(Coupling{}, a)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			use := func() {
				more := min(c.pages, a.Limit())&^(mem.PageSize-1) - held
				hold(t, a, more)
				held += more
				live = min(c.heap, goLimit()) // the collector runs until the live heap fits
			}
			for _, total = range []int64{40 * gib, 80 * gib, 20 * gib, 64 * gib, 10 * gib, 40 * gib} {
				rest := total - total/10
				// Go has what it had, or what the program wants, and the arena the rest.
				host.timer.Fire()
				use()
				host.timer.Fire()
				use()
				limit, goes := a.Limit(), goLimit()
				for round := range 3 {
					host.timer.Fire()
					use()
					if a.Limit() != limit || goLimit() != goes {
						t.Errorf("%d GiB: round %d brings limits of %d and %d MiB for Go, before %d and %d", total/gib,
							round, a.Limit()/mib, goLimit()/mib, limit/mib, goes/mib)
					}
				}
				if held > limit || live > goes || held+live > rest {
					t.Errorf("%d GiB: %d MiB of a limit of %d, Go %d of %d", total/gib, held/mib, limit/mib, live/mib, goes/mib)
				}
				if step := rest / 64; goes < rest-held-step || limit < rest-max(live, rest/8) {
					t.Errorf("%d GiB: limits of %d and %d MiB for Go leave memory unused", total/gib, limit/mib, goes/mib)
				}
			}
		})
	}
}
