package slub_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// A limit that is lowered below what is charged lets nothing be allocated until enough is free, in
// whichever way, and then as much as it says. Raised again it lets more be allocated.
func TestAccountSetLimit(t *testing.T) {
	const size = 1024
	for name, cfg := range map[string]slub.AccountConfig{
		"alone":  {Name: "conn", Limit: 20 * size},
		"parent": {Name: "conn", Limit: 20 * size, Parent: newGroup(t, slub.GroupConfig{})},
	} {
		for how, free := range accountFrees {
			if how == "Reset" || how == "Close" || how == "a larger Realloc" {
				continue // they free more than one, or charge another
			}
			t.Run(name+", "+how, func(t *testing.T) {
				b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{})
				a := newAccount(t, b, cfg)
				var ps []unsafe.Pointer
				fill := func(want int) {
					t.Helper()
					for len(ps) < 100 {
						p, err := a.Malloc(size)
						if err != nil {
							wantError := slub.AccountError{Account: "conn", Limit: a.Limit(), InUse: a.Usage(), Bytes: size}
							var ae *slub.AccountError
							if !errors.As(err, &ae) || *ae != wantError {
								t.Errorf("%v, want %v", err, &wantError)
							}
							break
						}
						ps = append(ps, p)
					}
					if len(ps) != want || a.Usage() != int64(want)*size {
						t.Fatalf("%d objects, %d bytes, with a limit of %d; want %d", len(ps), a.Usage(), a.Limit(), want)
					}
				}
				fill(20)
				a.SetLimit(10 * size)
				fill(20)
				for len(ps) > 9 {
					free(t, a, b, ps[0])
					if ps = ps[1:]; len(ps) >= 10 {
						fill(len(ps))
					}
				}
				fill(10)
				a.SetLimit(12*size + size/2)
				fill(12)
				a.SetLimit(slub.None)
				fill(12)
				a.SetLimit(0)
				fill(100)
				a.SetLimit(30 * size)
				a.Reset()
				ps = nil
				fill(30)
				a.SetLimit(10 * size)
				b.FreeDeferred(ps[0])
				a.Close()
				a.SetLimit(50 * size)
				same(t, "Barrier", b.Barrier(t.Context()), nil)
				if _, err := a.Malloc(size); !errors.Is(err, slub.ErrClosed) || a.Limit() != 50*size || a.Usage() != 0 {
					t.Errorf("after Close: %v, limit %d, %d bytes charged", err, a.Limit(), a.Usage())
				}
				if g := cfg.Parent; g != nil && (g.Stats().Bytes != 0 || g.Stats().Accounts != 0) {
					t.Errorf("the parent: %+v", g.Stats())
				}
			})
		}
	}
}

// TestAccountLimitModel does what comes with an Account whose limit changes, and compares it with a
// list of objects: Malloc and Realloc succeed if the limit has room for the bytes, and only then;
// charged are the objects in the list. The parent is never charged for less.
func TestAccountLimitModel(t *testing.T) {
	for name, buckets := range map[string]slub.BucketsConfig{
		"plain": {},
		"hooks": {Hooks: hooks.Hooks{Free: func(hooks.Object) bool { return false }}},
	} {
		for _, parent := range []*slub.Group{nil, newGroup(t, slub.GroupConfig{Name: "requests"})} {
			t.Run(fmt.Sprint(name, ", parent ", parent != nil), func(t *testing.T) {
				b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), buckets)
				m := &limitModel{t: t, b: b, parent: parent, r: rand.New(rand.NewPCG(testutil.Seed(t), 1)),
					a: newAccount(t, b, slub.AccountConfig{Limit: 100_000, Parent: parent})}
				for range testutil.Stress(t, 20_000) {
					m.step()
				}
				m.a.Close()
				if parent != nil && parent.Stats().Bytes != 0 {
					t.Errorf("%d bytes are charged to the parent", parent.Stats().Bytes)
				}
			})
		}
	}
}

type limitModel struct {
	t      *testing.T
	a      *slub.Account
	b      *slub.Buckets
	parent *slub.Group
	r      *rand.Rand
	held   []unsafe.Pointer
}

// step does one operation, and checks what is charged.
func (m *limitModel) step() {
	last := len(m.held) - 1
	if last >= 0 {
		i := m.r.IntN(len(m.held))
		m.held[i], m.held[last] = m.held[last], m.held[i]
	}
	used := m.charged()
	switch k := m.r.IntN(100); {
	case k < 40:
		n := stormSize(m.r)
		p, err := m.a.Malloc(n)
		m.judge(n, used, err)
		if err == nil {
			m.held = append(m.held, p)
		}
	case k < 50 && last >= 0:
		n := stormSize(m.r)
		p := m.held[last]
		*(*byte)(p) = byte(n)
		q, err := m.a.Realloc(p, n)
		if q != p {
			m.judge(n, used, err)
		}
		if err == nil {
			if m.held[last] = q; *(*byte)(q) != byte(n) {
				m.t.Errorf("Realloc of %p to %d bytes: another content at %p", p, n, q)
			}
		}
	case k < 85 && last >= 0:
		p := m.held[last]
		m.held = m.held[:last]
		if m.r.IntN(2) == 0 {
			m.a.Free(p)
		} else {
			m.b.Free(p)
		}
	case k < 98:
		m.a.SetLimit(1 + m.r.Int64N(200_000))
	case k == 98:
		m.a.SetLimit(0)
	default:
		m.a.Reset()
		m.held = nil
	}
	if want := m.charged(); m.a.Usage() != want {
		m.t.Fatalf("%d bytes are charged, %d in use", m.a.Usage(), want)
	}
	if m.parent != nil {
		if got := m.parent.Stats().Bytes; got < m.a.Usage() || got > m.a.Usage()+mostAhead {
			m.t.Fatalf("%d bytes are charged to the account, %d to its parent", m.a.Usage(), got)
		}
	}
}

func (m *limitModel) charged() (sum int64) {
	for _, p := range m.held {
		sum += int64(m.b.Size(p))
	}
	return sum
}

// judge checks whether an allocation of n bytes had to succeed. used were in use before.
func (m *limitModel) judge(n int, used int64, err error) {
	p := must(m.t)(m.b.Malloc(n))
	bytes := int64(m.b.Size(p))
	m.b.Free(p)
	var full *slub.AccountError
	switch want := bytes <= m.a.Limit()-used; {
	case err == nil && !want:
		m.t.Fatalf("%d bytes are allocated beyond the limit %d, with %d in use", bytes, m.a.Limit(), used)
	case err != nil && (want || !errors.As(err, &full)):
		m.t.Fatalf("%d bytes with %d in use: %v", bytes, used, err)
	}
}

// Realloc charges the Account for what it returns, and no longer for what it was given.
func TestAccountRealloc(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Span: 64 * mib}), slub.BucketsConfig{})
	for kind, n := range accountedSizes {
		a, other := newAccount(t, b, slub.AccountConfig{Name: "one"}), newAccount(t, b, slub.AccountConfig{Name: "other"})
		for whose, from := range map[string]func() (unsafe.Pointer, error){
			"its own":   func() (unsafe.Pointer, error) { return a.Malloc(n) },
			"another's": func() (unsafe.Pointer, error) { return other.Malloc(n) },
			"uncharged": func() (unsafe.Pointer, error) { return b.Malloc(n) },
			"none":      func() (unsafe.Pointer, error) { return nil, nil },
		} {
			p := must(t)(from())
			if p != nil {
				*(*byte)(p), *(*byte)(unsafe.Add(p, n-1)) = 7, 8
				room, before := b.Size(p), a.Usage()
				if q := must(t)(a.Realloc(p, room)); q != p || a.Usage() != before {
					t.Errorf("%s, %s: %d bytes are charged in place, %d before", kind, whose, a.Usage(), before)
				}
			}
			q := must(t)(a.Realloc(p, 2*n+1))
			if got, want := a.Usage(), int64(b.Size(q)); got != want || want <= int64(2*n) || other.Usage() != 0 {
				t.Errorf("%s, %s: %d of %d bytes are charged, and %d to the other", kind, whose, got, want, other.Usage())
			}
			if p != nil && (*(*byte)(q) != 7 || *(*byte)(unsafe.Add(q, n-1)) != 8) {
				t.Errorf("%s, %s: another content", kind, whose)
			}
			limit, usage := a.Usage()+int64(n), a.Usage()
			a.SetLimit(limit)
			r, err := a.Realloc(q, 4*n+2)
			if !errors.Is(err, slub.ErrAccountLimit) || r != nil || a.Usage() != usage {
				t.Errorf("%s, %s: beyond the limit: %p, %v, %d bytes charged", kind, whose, r, err, a.Usage())
			}
			a.SetLimit(0)
			if _, err := a.Realloc(q, -1); !errors.Is(err, slub.ErrSize) || a.Usage() != usage {
				t.Errorf("%s, %s: -1 bytes: %v, %d bytes charged", kind, whose, err, a.Usage())
			}
			if r := must(t)(a.Realloc(q, 0)); b.Size(r) != 0 || a.Usage() != 0 {
				t.Errorf("%s, %s: %d bytes are charged at the end", kind, whose, a.Usage())
			}
		}
	}
	if s := b.Stats(); s.Objects != 0 {
		t.Errorf("%d objects are in use", s.Objects)
	}
}

// A Realloc whose Free hook panics frees both objects: the old one, as any free does whose hook
// does not return, and the new one, which no user has got.
func TestAccountReallocPanics(t *testing.T) {
	panics := false
	b := openBuckets(t, newArena(t, arena.Config{}), slub.BucketsConfig{Hooks: hooks.Hooks{Free: func(hooks.Object) bool {
		if panics {
			panics = false
			panic("hook")
		}
		return false
	}}})
	a := newAccount(t, b, slub.AccountConfig{})
	p := must(t)(a.Malloc(100))
	func() {
		defer func() { _ = recover() }()
		panics = true
		_, _ = a.Realloc(p, 1000)
		t.Error("no panic")
	}()
	if s := b.Stats(); s.Objects != 0 || a.Usage() != 0 {
		t.Errorf("%d objects, %d bytes charged", s.Objects, a.Usage())
	}
	a.Reset()
	if s := b.Stats(); s.Objects != 0 || a.Usage() != 0 {
		t.Errorf("%d objects, %d bytes charged at the end", s.Objects, a.Usage())
	}
}
