package slub_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// mostAhead is how many bytes more than an Account has its Parent may be charged for.
const mostAhead = 12 << 10

// An accountLedger is what the test itself knows of an Account: the bytes of the objects that it
// has allocated and whose free has not begun, by the Size of each.
type accountLedger struct {
	account *slub.Account
	bytes   atomic.Int64
}

// A charged is an object in the hands of the test.
type charged struct {
	p    unsafe.Pointer
	size int64
	of   *accountLedger
}

// Goroutines allocate, each in Accounts of its own, whose limits they change, and free by all means
// what they and others have allocated; requests end with Reset. No allocation goes beyond the limit
// of that moment. Whenever all pause, each Account is charged for the bytes
// that the test's ledger has, and a walk over all objects finds as many. At the end nothing is
// charged.
func TestAccountStorm(t *testing.T) {
	hooked := hooks.Hooks{Alloc: func(hooks.Object) {}, Free: func(hooks.Object) bool { return false }}
	for name, cfg := range map[string]slub.BucketsConfig{
		"plain":    {},
		"sampled":  {ProfileRate: 1000},
		"hooks":    {Hooks: hooked, RCUDtor: func(unsafe.Pointer) {}},
		"hardened": {Hardened: slub.On},
	} {
		t.Run(name, func(t *testing.T) { accountStorm(t, cfg) })
	}
}

func accountStorm(t *testing.T, cfg slub.BucketsConfig) {
	const workers, accountsEach = 4, 3
	phases, rounds := 8, 2000
	if testutil.Instrumented || testing.Short() {
		phases, rounds = 3, 300
	}
	arena := newArena(t, arena.Config{Span: 64 * mib})
	cfg.Domain = new(rcu.Domain)
	b := openBuckets(t, arena, cfg)
	parent := newGroup(t, slub.GroupConfig{Name: "requests"})
	ledgers := make([][]*accountLedger, workers)
	for w := range ledgers {
		for i := range accountsEach {
			cfg := slub.AccountConfig{Name: fmt.Sprint(w, "-", i), Limit: int64(200+100*i) << 10}
			if i > 0 {
				cfg.Parent = parent
			}
			ledgers[w] = append(ledgers[w], &accountLedger{account: newAccount(t, b, cfg)})
		}
	}
	passed := make(chan charged, 1000) // to whichever worker takes it
	for phase := range phases {
		var working sync.WaitGroup
		for w := range workers {
			working.Go(func() {
				r := rand.New(rand.NewPCG(uint64(phase), uint64(w)))
				accountWork(t, r, rounds, b, ledgers[w], passed)
			})
		}
		working.Wait()
		if err := b.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkLedgers(t, b, ledgers, parent)
	}
	for len(passed) > 0 {
		o := <-passed
		o.of.bytes.Add(-o.size)
		b.Free(o.p)
	}
	checkLedgers(t, b, ledgers, parent)
	for _, mine := range ledgers {
		for _, l := range mine {
			l.account.Close()
			if l.account.Usage() != 0 {
				t.Errorf("%d bytes are charged to %s at the end", l.account.Usage(), l.account.Name())
			}
		}
	}
	if s := parent.Stats(); s.Bytes != 0 || s.Accounts != 0 {
		t.Errorf("%+v at the end", s)
	}
}

// accountWork is a worker's phase. What it still holds at the end it passes on, or resets.
func accountWork(t *testing.T, r *rand.Rand, rounds int, b *slub.Buckets, mine []*accountLedger, passed chan charged) {
	var held []charged
	free := func(o charged) {
		o.of.bytes.Add(-o.size)
		own := o.of == mine[0] || o.of == mine[1] || o.of == mine[2]
		switch k := r.IntN(10); {
		case k < 5 && own:
			o.of.account.Free(o.p)
		case k < 6:
			mine[0].account.Free(o.p)
		case k < 7:
			b.FreeBulk([]unsafe.Pointer{o.p, nil})
		case k < 8:
			b.FreeRCU(o.p)
		case k < 9:
			b.FreeDeferred(o.p)
		default:
			b.Free(o.p)
		}
	}
	for range rounds {
		switch k := r.IntN(20); {
		case k < 9:
			l := mine[r.IntN(len(mine))]
			p, err := l.account.Malloc(stormSize(r))
			switch {
			case err == nil:
				o := charged{p, int64(b.Size(p)), l}
				l.bytes.Add(o.size)
				held = append(held, o)
				if usage := l.account.Usage(); usage > l.account.Limit() {
					t.Errorf("%d bytes are charged, with a limit of %d", usage, l.account.Limit())
				}
			case !errors.Is(err, slub.ErrAccountLimit):
				t.Errorf("Malloc: %v", err)
			}
		case k < 12 && len(held) > 0:
			i := r.IntN(len(held))
			select {
			case passed <- held[i]:
				held[i] = held[len(held)-1]
				held = held[:len(held)-1]
			default:
			}
		case k < 14:
			select {
			case o := <-passed:
				free(o)
			default:
			}
		case k < 19 && len(held) > 0:
			i := r.IntN(len(held))
			o := held[i]
			held[i] = held[len(held)-1]
			held = held[:len(held)-1]
			free(o)
		case k == 19 && r.IntN(2) == 0 && len(held) > 0:
			l, o := mine[r.IntN(len(mine))], &held[r.IntN(len(held))]
			p, err := l.account.Realloc(o.p, stormSize(r))
			switch {
			case err == nil && p != o.p:
				o.of.bytes.Add(-o.size)
				*o = charged{p, int64(b.Size(p)), l}
				l.bytes.Add(o.size)
			case err != nil && !errors.Is(err, slub.ErrAccountLimit):
				t.Errorf("Realloc: %v", err)
			}
		case k == 19:
			l := mine[r.IntN(len(mine))]
			l.account.SetLimit(int64(50+r.IntN(400)) << 10)
		}
	}
	for _, o := range held {
		select {
		case passed <- o:
		default:
			free(o)
		}
	}
}

// stormSize is a number of bytes: a small one mostly, sometimes one of a page class or a run.
func stormSize(r *rand.Rand) int {
	switch k := r.IntN(1000); {
	case k == 0:
		return 1100 << 10
	case k < 10:
		return 40_000 + r.IntN(30_000)
	case k < 100:
		return 1 + r.IntN(8000)
	}
	return 1 + r.IntN(300)
}

// checkLedgers compares what is charged with the ledgers, and with all objects that can be found.
func checkLedgers(t *testing.T, b *slub.Buckets, ledgers [][]*accountLedger, parent *slub.Group) {
	t.Helper()
	found := map[string]int64{}
	large := int64(0)
	for o := range b.Live() {
		switch info, ok := slub.Owner(mem.Ptr(o.Addr)); {
		case !ok:
			t.Errorf("%+v has no owner", o)
		case info.Charged:
			found[info.Account] += info.Size
		default:
			large += o.Size
		}
	}
	inGroup, all := int64(0), int64(0)
	for _, mine := range ledgers {
		for i, l := range mine {
			usage, want := l.account.Usage(), l.bytes.Load()
			if usage != want {
				t.Errorf("%d bytes are charged to %s, %d are in use", usage, l.account.Name(), want)
			}
			all += usage - found[l.account.Name()]
			if i > 0 {
				inGroup += usage
			}
		}
	}
	if all != large {
		t.Errorf("what is charged and what is in use differ by %d bytes, %d of them large", all, large)
	}
	if got := parent.Stats().Bytes; got < inGroup || got > inGroup+int64(len(ledgers))*2*mostAhead {
		t.Errorf("%d bytes are charged to the parent, %d to its accounts", got, inGroup)
	}
}

// Readers see no sum that the Account never had, while its goroutine and another one change it, and
// its limit.
func TestAccountUsageWhileChanging(t *testing.T) {
	const size, least, most = 640, 10, 50 // steps of the Parent are no multiples of the size
	b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{})
	for name, cfg := range map[string]slub.AccountConfig{
		"limit":  {Limit: 2 * most * size},
		"parent": {Parent: newGroup(t, slub.GroupConfig{})},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t, b, cfg)
			rounds := 200_000
			if testutil.Instrumented || testing.Short() {
				rounds = 5000
			}
			var held []unsafe.Pointer
			for range least {
				held = append(held, must(t)(a.Malloc(size)))
			}
			toFree := make(chan unsafe.Pointer, most)
			var freeing, reading sync.WaitGroup
			freeing.Go(func() {
				for p := range toFree {
					b.Free(p)
				}
			})
			var stop atomic.Bool
			reading.Go(func() {
				for !stop.Load() {
					// toFree has most, and each goroutine one in hand.
					if got := a.Usage(); got < least*size || got > (2*most+2)*size || got%size != 0 {
						t.Errorf("%d bytes are charged", got)
					}
				}
			})
			r := rand.New(rand.NewPCG(1, 2))
			for range rounds {
				if r.IntN(100) == 0 {
					a.SetLimit(int64(most+r.IntN(most)) * size)
				}
				if len(held) < most && (len(held) == least || r.IntN(2) == 0) {
					p, err := a.Malloc(size)
					if err != nil && !errors.Is(err, slub.ErrAccountLimit) {
						t.Error(err)
					}
					if err == nil {
						held = append(held, p)
						continue
					}
				}
				last := len(held) - 1
				if last < least {
					continue
				}
				if r.IntN(2) == 0 {
					a.Free(held[last])
				} else {
					toFree <- held[last]
				}
				held = held[:last]
			}
			close(toFree)
			freeing.Wait()
			stop.Store(true)
			reading.Wait()
			if got := a.Usage(); got != int64(len(held))*size {
				t.Errorf("%d bytes are charged for %d objects", got, len(held))
			}
		})
	}
}
