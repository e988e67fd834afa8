package arena

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// model is a minimal arena: the run that owns each page. It tells for every Alloc whether it must
// succeed and, if not, with which error.
type model struct {
	t      testing.TB
	arena  *Arena
	owner  []int // by page: serial of the run, 0: free
	live   []modelRun
	serial int
	used   int64 // pages
}

type modelRun struct {
	Run
	serial int
}

func newModel(t testing.TB, a *Arena) *model {
	return &model{t: t, arena: a, owner: make([]int, a.Pages())}
}

// play interprets a stream of operations of two bytes each: the operation and its argument.
func (m *model) play(ops []byte) {
	for i := 0; i+1 < len(ops); i += 2 {
		switch op, arg := ops[i]%16, ops[i+1]; {
		case op < 8:
			order := int(arg % 4)
			if arg%5 == 0 {
				order = int(arg/5) % (MaxOrder + 1)
			}
			pages := 1 << order
			if arg&0x40 != 0 && order > 0 {
				pages -= int(arg) % (pages / 2) // of the same order, but not the whole block
			}
			m.alloc(pages, int(op)%m.arena.Topology().NodeCount())
		case op < 14:
			m.free(int(arg))
		case op == 14:
			m.purge(int64(arg) << 14)
		default:
			m.arena.SetLimit(int64(arg) << 16)
		}
		m.sums()
	}
}

// finish frees everything and expects each zone to be whole again.
func (m *model) finish() {
	for len(m.live) > 0 {
		m.free(0)
	}
	m.purge(0)
	check(m.arena)
	for i := range m.arena.zones {
		z := &m.arena.zones[i]
		if area := &z.free[clean.area()]; area.pages != z.bump-z.first || area.orders&^(1<<MaxOrder) != 0 {
			m.t.Errorf("node %d: %d pages of %d are clean, orders %#x", z.node, area.pages, z.bump-z.first, area.orders)
		}
	}
}

func (m *model) alloc(pages, index int) {
	n, order := int64(pages), orderOf(uint32(pages))
	node := m.arena.Topology().Nodes()[index]
	limit := m.arena.Limit()
	var want error
	switch {
	case !m.fits(order, node):
		want = ErrExhausted
	case m.used+n > limit/mem.PageSize:
		want = ErrLimit
	}
	run, err := m.arena.AllocPages(pages, index)
	if !errors.Is(err, want) {
		m.t.Fatalf("AllocPages(%d, %d) with %d pages of %d bytes in use: %v, want %v", pages, index, m.used, limit, err, want)
	}
	if err != nil {
		return
	}
	if m.arena.NodeOf(m.arena.Addr(run.Page)) != node || run.Page%(1<<order) != 0 || int(run.Order) != order || int(run.Pages) != pages {
		m.t.Fatalf("AllocPages(%d, %d) = %+v", pages, index, run)
	}
	if run.Zero && !allZero(words(m.arena, run)) {
		m.t.Fatalf("%+v isn't zero", run)
	}
	m.serial++
	for i := range m.owner[run.Page : run.Page+uint32(n)] {
		if at := &m.owner[int(run.Page)+i]; *at != 0 {
			m.t.Fatalf("page %d of %+v belongs to run %d", i, run, *at)
		} else {
			*at = m.serial
		}
	}
	r := modelRun{Run: run, serial: m.serial}
	m.live = append(m.live, r)
	m.used += n
	m.mark(r, func(word *uint64, value uint64) { *word = value })
	m.arena.SetOwner(run.Page, pages, owner.Word(m.serial))
}

// fits reports whether a node has a block of the order without a used page.
func (m *model) fits(order int, node numa.Node) bool {
	per := len(m.owner) / m.arena.Topology().NodeCount()
	first := m.arena.Topology().Index(node) * per
slots:
	for at := first; at < first+per; at += 1 << order {
		for _, owner := range m.owner[at : at+1<<order] {
			if owner != 0 {
				continue slots
			}
		}
		return true
	}
	return false
}

// mark visits two words of each page, the first and one that depends on the run, with the value
// that they have while the run is live.
func (m *model) mark(r modelRun, visit func(word *uint64, value uint64)) {
	w := words(m.arena, r.Run)
	for at := 0; at < len(w); at += mem.PageSize / 8 {
		value := uint64(r.serial)<<32 | uint64(at+1)
		visit(&w[at], value)
		visit(&w[at+1+int(value*0x9e3779b97f4a7c15>>32%511)], value)
	}
}

func (m *model) free(which int) {
	if len(m.live) == 0 {
		return
	}
	i := which % len(m.live)
	r := m.live[i]
	m.live[i] = m.live[len(m.live)-1]
	m.live = m.live[:len(m.live)-1]
	m.mark(r, func(word *uint64, value uint64) {
		if *word != value {
			m.t.Fatalf("%+v: contents are %#x, want %#x", r, *word, value)
		}
	})
	last := r.Page + r.Pages - 1
	if head, pages, ok := m.arena.Head(last); head != r.Page || pages != int(r.Pages) || !ok || m.arena.Owner(last) != owner.Word(r.serial) {
		m.t.Fatalf("%+v: its last page has head %d, %d pages, %v, owner %d", r, head, pages, ok, m.arena.Owner(last))
	}
	clear(m.owner[r.Page : last+1])
	m.used -= int64(r.Pages)
	m.arena.Free(r.Page)
}

func (m *model) purge(target int64) {
	before := m.idle()
	released := m.arena.Purge(target)
	if target == 0 {
		target = before
	}
	if after := m.idle(); released != before-after || released < min(target, before) {
		m.t.Fatalf("Purge(%d) = %d, free bytes went from %d to %d", target, released, before, after)
	}
}

// idle is the number of bytes that Purge can release.
func (m *model) idle() (bytes int64) {
	for _, n := range m.arena.Stats().Nodes {
		bytes += n.Free
	}
	return bytes
}

// sums compares the statistics with the model, and with the limit.
func (m *model) sums() {
	var used, free int64
	var runs uint64
	for _, n := range m.arena.Stats().Nodes {
		used += n.Used
		runs += n.Runs
		free += n.Free
		if carved := n.Used + n.Free + n.Purged; carved > n.Reserved || carved%maxRun != 0 {
			m.t.Fatalf("figures don't add up: %+v", n)
		}
	}
	if used != m.used*mem.PageSize || int(runs) != len(m.live) {
		m.t.Fatalf("%d bytes in %d runs used, want %d pages in %d", used, runs, m.used, len(m.live))
	}
	if limit := m.arena.Limit(); free > 0 && used+free > limit {
		m.t.Fatalf("limit %d, but %d bytes used and %d free", limit, used, free)
	}
}

func modelConfigs(t testing.TB) []Config {
	one, three := nodes(t, 0), nodes(t, 0, 1, 7)
	return []Config{
		{Topology: one, Span: 4 * mib},
		{Topology: one, Span: 8 * mib, MaxDirty: None},
		{Topology: three, Span: 4 * mib, MaxDirty: Unlimited},
		{Topology: three, Span: 8 * mib, MaxDirty: 1 << 19, Limit: 6 * mib},
	}
}

func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	for i, cfg := range modelConfigs(t) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			m := newModel(t, open(t, cfg))
			n := testutil.Stress(t, 8000) / 2
			if heapBacked {
				n /= 4 // mappings are cleared, and the detector is told of each word
			}
			ops := make([]byte, n)
			for i := range ops {
				ops[i] = byte(rng.Uint32())
			}
			m.play(ops)
			m.finish()
		})
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte("\x00\x32\x08\x00\x0e\x00\x0f\x10\x01\x00\x02\x05"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newModel(t, open(t, modelConfigs(t)[3]))
		m.play(ops)
		m.finish()
	})
}
