package arena

import (
	"errors"
	"math"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

const gib = 1 << 30

// goLimit is the limit in force.
func goLimit() int64 { return debug.SetMemoryLimit(-1) }

// ownLimit sets the program's own limit for one test.
func ownLimit(t *testing.T, n int64) {
	t.Helper()
	before := debug.SetMemoryLimit(n)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
}

// couple couples arenas. Unless cfg says otherwise, it does so with a share of 64 GiB, so that a
// step is 1 GiB. The arenas of tests hold much less; hold pretends that they hold more.
func couple(t *testing.T, cfg Coupling, arenas ...*Arena) (stop func()) {
	t.Helper()
	if cfg.Total == 0 {
		cfg = Coupling{Total: 65 * gib, Reserve: gib, Floor: cfg.Floor}
	}
	stop, err := CoupleGoMemLimit(cfg, arenas...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return stop
}

// hold adds n bytes to what an arena's ledger says that it holds, and lets the coupling know. This
// is undone when the test ends, before the arena is checked.
func hold(t *testing.T, a *Arena, n int64) {
	t.Helper()
	pages := uint64(n / mem.PageSize)
	a.ledger.word.Add(pages << 32)
	t.Cleanup(func() { a.ledger.word.Add(-(pages << 32)) })
	followCoupling()
}

func TestCoupledLimitFollows(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a, b := open(t, Config{}), open(t, Config{})
	stop := couple(t, Coupling{}, a, b, a)
	for i, c := range []struct {
		a, b int64 // bytes that the arenas hold more
		want int64 // the limit then
	}{
		{want: 64 * gib},
		{a: 10 * gib, want: 54 * gib},
		{b: 4 * gib, want: 50 * gib},
		{a: -8 * gib, want: 58 * gib},
		{a: gib - mem.PageSize, want: 58 * gib}, // less than a step
		{a: mem.PageSize, want: 57 * gib},       // with the bytes before, a step
		{a: mem.PageSize - gib, want: 57 * gib},
		{a: -mem.PageSize, want: 58 * gib},
		{b: 200 * gib, want: 8 * gib}, // the floor
		{b: -200 * gib, want: 58 * gib},
	} {
		hold(t, a, c.a)
		hold(t, b, c.b)
		if n := goLimit(); n != c.want {
			t.Fatalf("step %d: the limit is %d MiB, want %d", i, n/mib, c.want/mib)
		}
	}
	for range 2 {
		stop()
		if n := goLimit(); n != math.MaxInt64 {
			t.Errorf("after stop the limit is %d", n)
		}
	}
	hold(t, a, 20*gib)
	if n := goLimit(); n != math.MaxInt64 {
		t.Errorf("after stop the limit still follows: %d", n)
	}
}

// The limit follows a real run through Alloc, Free and Purge.
func TestRunsMoveTheLimit(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a := open(t, Config{MaxDirty: maxRun})
	couple(t, Coupling{Total: 128 * mib, Reserve: 64 * mib}, a)
	run := alloc(t, a, MaxOrder, 0)
	if n := goLimit(); n != 60*mib {
		t.Errorf("the limit is %d MiB of 64, 4 are allocated", n/mib)
	}
	a.Free(run.Page)
	if n := goLimit(); n != 60*mib {
		t.Errorf("the limit is %d MiB of 64, 4 are dirty", n/mib)
	}
	a.Purge(0)
	if n := goLimit(); n != 64*mib {
		t.Errorf("the limit is %d MiB of 64, nothing is resident", n/mib)
	}
}

func TestMappingsMoveTheLimit(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a := open(t, Config{})
	couple(t, Coupling{Total: 128 * mib, Reserve: 64 * mib}, a)
	addr, _, err := a.Map(9*mib, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := goLimit(); n != 55*mib {
		t.Errorf("the limit is %d MiB of 64, 9 are mapped", n/mib)
	}
	a.Unmap(addr) // it keeps its pages
	if a.Purge(0); goLimit() != 64*mib {
		t.Errorf("the limit is %d MiB of 64, nothing is mapped", goLimit()/mib)
	}
}

func TestCoupledLimitNeverExceedsTheOwn(t *testing.T) {
	ownLimit(t, 16*gib)
	a := open(t, Config{})
	stop := couple(t, Coupling{}, a)
	expect := func(want int64) {
		t.Helper()
		if n := goLimit(); n != want {
			t.Errorf("the limit is %d MiB, want %d", n/mib, want/mib)
		}
	}
	expect(16 * gib)
	hold(t, a, 2*gib)
	expect(14 * gib)
	hold(t, a, 256*mib) // a step of 1/64 of the program's own limit
	expect(13*gib + 768*mib)
	hold(t, a, 100*gib)
	expect(2 * gib) // an eighth of the program's own limit
	hold(t, a, -100*gib)
	debug.SetMemoryLimit(6 * gib) // the program sets another limit of its own
	hold(t, a, 2*gib)
	expect(6*gib - 4*gib - 256*mib)
	debug.SetMemoryLimit(100 * gib)
	hold(t, a, -4*gib)
	expect(64*gib - 256*mib)
	stop()
	expect(100 * gib)
}

func TestCouplingWithNoReserveAndNoFloor(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a := open(t, Config{})
	couple(t, Coupling{Total: 64 * gib, Reserve: None, Floor: None}, a)
	for _, c := range []struct{ more, want int64 }{{more: 0, want: 64 * gib}, {more: 63 * gib, want: gib}, {more: gib, want: 0}} {
		hold(t, a, c.more)
		if n := goLimit(); n != c.want {
			t.Errorf("with %d MiB more the limit is %d MiB, want %d", c.more/mib, n/mib, c.want/mib)
		}
	}
}

func TestFloorAboveTheOwnLimit(t *testing.T) {
	ownLimit(t, 4*gib)
	a := open(t, Config{})
	couple(t, Coupling{Floor: 6 * gib}, a)
	hold(t, a, 50*gib)
	if n := goLimit(); n != 4*gib {
		t.Errorf("the limit is %d MiB, the program's own is 4096", n/mib)
	}
}

// stop keeps a limit that the program has set after the last adjustment.
func TestStopKeepsWhatTheProgramSet(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	stop := couple(t, Coupling{}, open(t, Config{}))
	debug.SetMemoryLimit(5 * gib)
	stop()
	if n := goLimit(); n != 5*gib {
		t.Errorf("stop replaced the program's limit by %d", n)
	}
}

func TestLastCloseUncouples(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a, b := open(t, Config{}), open(t, Config{})
	couple(t, Coupling{Total: 128 * mib, Reserve: 64 * mib}, a, b)
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	for _, arena := range []*Arena{a, b} {
		if n := goLimit(); n == math.MaxInt64 {
			t.Error("the coupling ended before its last arena was closed")
		}
		if err := arena.Close(); err != nil {
			t.Fatal(err)
		}
		if n := goLimit(); arena == a && n != 64*mib {
			t.Errorf("the limit is %d MiB of 64 when the arena that held something is closed", n/mib)
		}
	}
	if n := goLimit(); n != math.MaxInt64 {
		t.Errorf("the limit is %d when all arenas are closed", n)
	}
	if _, err := CoupleGoMemLimit(Coupling{Total: gib}, a); !errors.Is(err, ErrClosed) {
		t.Errorf("coupling a closed arena: %v", err)
	}
	c := open(t, Config{})
	couple(t, Coupling{}, c)
}

func TestCouplingRefusals(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a := open(t, Config{})
	for want, c := range map[string]struct {
		cfg    Coupling
		arenas []*Arena
	}{
		"CoupleGoMemLimit: arenas: 0, or one of them is nil": {},
		"CoupleGoMemLimit: arenas: 2, or one of them is nil": {arenas: []*Arena{a, nil}},
		"Coupling.Reserve: 1073741824 bytes leave nothing of a Total of 1073741824": {
			cfg: Coupling{Total: gib, Reserve: gib}, arenas: []*Arena{a},
		},
		"Coupling.Reserve: 2147483648 bytes leave nothing of a Total of 1073741824": {
			cfg: Coupling{Total: gib, Reserve: 2 * gib}, arenas: []*Arena{a},
		},
		"Coupling.Floor: 1073741824 bytes are more than what a Reserve of 536870912 leaves of a Total of 1073741824": {
			cfg: Coupling{Total: gib, Reserve: gib / 2, Floor: gib}, arenas: []*Arena{a},
		},
		"Coupling.Total: -1073741824 bytes are negative": {
			cfg: Coupling{Total: -gib, Reserve: None}, arenas: []*Arena{a},
		},
		"Coupling.Reserve: -2 bytes are negative\narena: Coupling.Floor: -3 bytes are negative": {
			cfg: Coupling{Total: gib, Reserve: -2, Floor: -3}, arenas: []*Arena{a},
		},
	} {
		if stop, err := CoupleGoMemLimit(c.cfg, c.arenas...); !errors.Is(err, ErrConfig) || err.Error() != "arena: "+want {
			t.Errorf("got %v, want %s", err, want)
			if stop != nil {
				stop()
			}
		}
	}
	couple(t, Coupling{}, a)
	if _, err := CoupleGoMemLimit(Coupling{}, a); !errors.Is(err, ErrCoupled) {
		t.Errorf("a second coupling: %v", err)
	}
}

func TestDefaultTotal(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	ram, _, err := sys.RAM()
	if err != nil {
		t.Skip(err)
	}
	limit, _ := CgroupLimit()
	want := min(limit, int64(ram))
	a := open(t, Config{})
	expect := func() {
		stop, err := CoupleGoMemLimit(Coupling{}, a)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if n := goLimit(); n != want-want/10 {
			t.Errorf("the limit is %d, want 9/10 of %d", n, want)
		}
	}
	expect()
	restore := sys.FailNth(sys.CallCgroupLimit, 0, syscall.EACCES)
	defer restore()
	want = int64(ram)
	expect()
	defer sys.FailNth(sys.CallRAM, 0, syscall.EPERM)()
	if _, err := CoupleGoMemLimit(Coupling{}, a); !errors.Is(err, ErrConfig) {
		t.Errorf("coupling with an unknown total: %v", err)
	}
}

// An Alloc that finds a coupling just before stop does not change the limit after it.
func TestFollowAfterStop(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a := open(t, Config{})
	stop := couple(t, Coupling{}, a)
	c := coupled.Load()
	stop()
	hold(t, a, 2*gib)
	c.follow()
	if n := goLimit(); n != math.MaxInt64 {
		t.Errorf("the limit is %d after stop", n)
	}
}

// When several goroutines have charged pages at once, the limit is within a step of what it should
// be: none of them may rely on another that has looked before.
func TestFollowersTakeTurns(t *testing.T) {
	ownLimit(t, math.MaxInt64)
	a := open(t, Config{})
	couple(t, Coupling{}, a)
	c := coupled.Load()
	for round := range testutil.Stress(t, 20000) {
		step := uint64(gib/mem.PageSize) << 32
		if round%2 == 1 {
			step = -step
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				a.ledger.word.Add(step)
				followCoupling()
			})
		}
		if wg.Wait(); c.stale() {
			t.Errorf("round %d: the limit is %d MiB, %d MiB are held", round, goLimit()/mib, c.held()/mib)
			break
		}
	}
	a.ledger.word.Store(0)
}
