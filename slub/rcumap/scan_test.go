package rcumap

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// scan collects the keys of a whole Scan, n entries at a time, and how often each is shown.
func scan(m *Map, n int) map[string]int {
	seen := map[string]int{}
	visit := func(i Item) { seen[string(i.Key())]++ }
	step := func(c Cursor) Cursor {
		s := m.Domain().Enter()
		defer s.Exit()
		return m.Scan(c, n, visit)
	}
	for c := step(0); c != 0; c = step(c) {
	}
	return seen
}

func TestScan(t *testing.T) {
	m := newMap(t)
	if seen := scan(m, 10); len(seen) != 0 {
		t.Errorf("an empty map shows %v", seen)
	}
	const keys = 5000
	for i := range keys {
		if err := m.Put(fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	m.grow(m.mask.Load() + 1) // some slots are not in the list
	for _, n := range []int{1, 7, 1000, 2 * keys} {
		seen := scan(m, n)
		if len(seen) != keys {
			t.Errorf("%d at a time: %d keys of %d", n, len(seen), keys)
		}
		for key, times := range seen {
			if times != 1 {
				t.Errorf("%d at a time: %s is shown %d times", n, key, times)
			}
		}
	}
	closeMap(t, m)
}

// TestScanFromAnyCursor checks that every number is a place in the list: what is shown from there
// on lies behind it, and is all that does.
func TestScanFromAnyCursor(t *testing.T) {
	m, random := newMap(t), rand.New(rand.NewPCG(testutil.Seed(t), 0))
	for i := range 2000 {
		if err := m.Put(fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	s := m.Domain().Enter()
	for range 200 {
		c, behind, shown := Cursor(random.Uint64()), 0, 0
		m.Scan(0, m.Len(), func(i Item) {
			if i.e.order > uint64(c) {
				behind++
			}
		})
		for at := m.Scan(c, 50, func(i Item) { shown++ }); at != 0; {
			at = m.Scan(at, 50, func(i Item) { shown++ })
		}
		if shown != behind {
			t.Errorf("%d of %d entries behind %#x", shown, behind, c)
		}
	}
	s.Exit()
	closeMap(t, m)
}

// TestScanShowsEqualHashesTogether has three keys in one place of the list, between which a cursor
// can't lead.
func TestScanShowsEqualHashesTogether(t *testing.T) {
	m := newMap(t)
	hash := m.hash("b")
	for _, key := range []string{"a", "b", "c"} {
		e, err := m.newEntry(orderOf(hash), key, 0)
		if err != nil {
			t.Fatal(err)
		}
		at := seek(m.slotInList(hash&m.mask.Load()), e.order)
		m.stripeOf(hash).link(at, nil, e)
	}
	if seen := scan(m, 1); seen["a"] != 1 || seen["b"] != 1 || seen["c"] != 1 {
		t.Errorf("%v", seen)
	}
	closeMap(t, m)
}

func TestSweep(t *testing.T) {
	m := newMap(t)
	const keys = 3000
	for i := range keys {
		if err := m.Put(fmt.Sprint(i), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	before := m.Memory().Stats()
	shown, gone, size := 0, 0, int64(0)
	odd := func(i Item) bool {
		shown++
		return i.Key()[len(i.Key())-1]%2 == 1
	}
	step := func(c Cursor) Cursor {
		next, deleted, bytes := m.Sweep(c, 40, odd)
		gone, size = gone+deleted, size+bytes
		return next
	}
	for c := step(0); c != 0; c = step(c) {
	}
	if shown != keys || gone != keys/2 || m.Len() != keys-gone {
		t.Errorf("%d keys were shown, %d deleted, %d are left", shown, gone, m.Len())
	}
	if n := before.Objects - objects(t, m); n != keys/2 || before.Bytes-m.Memory().Stats().Bytes != size {
		t.Errorf("%d objects were freed, of %d bytes, not %d", n, before.Bytes-m.Memory().Stats().Bytes, size)
	}
	for key := range contents(m) {
		if key[len(key)-1]%2 == 1 {
			t.Errorf("%s is left", key)
		}
	}
	checkList(t, m)
	closeMap(t, m)
}

// TestSweepLeavesWhatWasReplaced replaces an entry between the moment that Sweep has found it and
// the moment that it holds the lock.
func TestSweepLeavesWhatWasReplaced(t *testing.T) {
	m := newMap(t)
	if err := m.Put("key", []byte("old")); err != nil {
		t.Fatal(err)
	}
	section := m.Domain().Enter()
	found := m.Lookup([]byte("key"))
	if err := m.Put("key", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if m.unlinkIf(found.e, func(Item) bool { return true }) {
		t.Error("the new entry was taken for the old one")
	}
	section.Exit()
	if got := value(m, "key"); got != "new" {
		t.Errorf("the value is %q", got)
	}
	closeMap(t, m)
}

// TestScanWhileMapChanges scans while other goroutines replace the entries that stay, and put and
// delete others, so that the table grows. Each entry that stays must be shown exactly once.
func TestScanWhileMapChanges(t *testing.T) {
	const stays = 3000
	ops, seed := testutil.Stress(t, 40_000), testutil.Seed(t)
	m := newMap(t)
	for i := range stays {
		if err := m.Put(fmt.Sprint("stays ", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	var writing atomic.Int64
	for w := range 2 {
		writing.Add(1)
		go func() {
			defer writing.Add(-1)
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for i := range ops {
				var err error
				switch random.IntN(3) {
				case 0:
					err = m.Put(fmt.Sprint("stays ", random.IntN(stays)), []byte("again"))
				case 1:
					err = m.Put(fmt.Sprint("comes ", w, i), nil)
				case 2:
					m.Delete(fmt.Sprint("comes ", w, random.IntN(i+1)))
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for rounds := 0; rounds < 2 || writing.Load() > 0; rounds++ {
		seen := scan(m, 1+rounds%100)
		for i := range stays {
			if n := seen[fmt.Sprint("stays ", i)]; n != 1 {
				t.Fatalf("in round %d key %d is shown %d times", rounds, i, n)
			}
		}
	}
	if m.Slots() == base {
		t.Error("the table has not grown")
	}
	closeMap(t, m)
}
