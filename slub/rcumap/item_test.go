package rcumap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// value returns a key's value as Lookup finds it, and "none" for a key that is not there.
func value(m *Map, key string) string {
	s := m.Domain().Enter()
	defer s.Exit()
	if i := m.Lookup([]byte(key)); i.Found() {
		return string(i.Value())
	}
	return "none"
}

// objects returns how many objects the map has allocated and not freed.
func objects(t *testing.T, m *Map) uint64 {
	t.Helper()
	if err := m.Memory().Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	return m.Memory().Stats().Objects
}

func TestUpdate(t *testing.T) {
	m := newMap(t)
	key := []byte("key")
	before := objects(t, m)
	for _, step := range []struct {
		found  bool   // whether change shall find the key
		old    string // and its value
		fresh  string
		change Change
		want   string
	}{
		{false, "", "dropped", Keep, "none"},
		{false, "", "dropped", Remove, "none"},
		{false, "", "first", Replace, "first"},
		{true, "first", "dropped", Keep, "first"},
		{true, "first", "second", Replace, "second"},
		{true, "second", "", Replace, ""},
		{true, "", "dropped", Remove, "none"},
	} {
		err := m.Update(key, 100, func(old, fresh Item) Change {
			if old.Found() != step.found || old.Found() && string(old.Value()) != step.old {
				t.Errorf("%+v: found %v", step, old.Found())
			}
			if string(fresh.Key()) != "key" || len(fresh.Value()) != 100 || fresh.Word().Load() != 0 {
				t.Errorf("fresh: key %q, %d bytes, word %d", fresh.Key(), len(fresh.Value()), fresh.Word().Load())
			}
			fresh.Word().Store(7) // of an entry that may be freed and used for the next one
			fresh.Truncate(copy(fresh.Value(), step.fresh))
			return step.change
		})
		if got := value(m, "key"); err != nil || got != step.want {
			t.Errorf("%+v: %q, %v", step, got, err)
		}
		if there := m.Len() == 1; there != (step.want != "none") {
			t.Errorf("%+v: %d entries", step, m.Len())
		}
	}
	if n := objects(t, m); n != before {
		t.Errorf("%d objects at the beginning, %d at the end", before, n)
	}
	checkList(t, m)
	closeMap(t, m)
}

func TestDeleteIf(t *testing.T) {
	m := newMap(t)
	for _, key := range []string{"a", "b"} {
		if err := m.Put(key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	section := m.Domain().Enter()
	m.Lookup([]byte("a")).Word().Store(1)
	if n := m.Footprint(m.Lookup([]byte("a"))); n < entrySize+2 || n > 64 {
		t.Errorf("an entry of two bytes takes %d", n)
	}
	section.Exit()
	marked := func(i Item) bool { return i.Word().Load() == 1 }
	if !m.DeleteIf([]byte("a"), marked) || m.DeleteIf([]byte("a"), marked) || m.DeleteIf([]byte("b"), marked) {
		t.Error("not exactly the marked entry was deleted, once")
	}
	if got := value(m, "a") + " " + value(m, "b"); got != "none b" || m.Len() != 1 {
		t.Errorf("%s, %d entries", got, m.Len())
	}
	checkList(t, m)
	closeMap(t, m)
}

// TestEditIsNotLost adds to an entry's word while another goroutine replaces the entry and takes
// the word over. No addition may be lost.
func TestEditIsNotLost(t *testing.T) {
	ops := testutil.Stress(t, 20_000)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	m, key := newMap(t), []byte("key")
	add := func(i Item) { i.Word().Store(i.Word().Load() + 1) }
	if m.Edit(key, add) {
		t.Error("a key that is not there was edited")
	}
	if err := m.Put("key", nil); err != nil {
		t.Fatal(err)
	}
	var working sync.WaitGroup
	working.Go(func() {
		for range ops {
			if !m.Edit(key, add) {
				t.Error("the key is not there")
			}
		}
	})
	working.Go(func() {
		for range ops {
			err := m.Update(key, 0, func(old, fresh Item) Change {
				fresh.Word().Store(old.Word().Load())
				return Replace
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	working.Wait()
	m.Edit(key, func(i Item) {
		if n := i.Word().Load(); n != uint64(ops) {
			t.Errorf("%d additions of %d", n, ops)
		}
	})
	closeMap(t, m)
}

// TestUpdateIsAtomic counts with many goroutines; none of the additions may be lost, and no count
// be seen that no addition has made.
func TestUpdateIsAtomic(t *testing.T) {
	const goroutines, keys = 4, 3
	ops := testutil.Stress(t, 20_000)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	m := newMap(t)
	var working sync.WaitGroup
	for range goroutines {
		working.Go(func() {
			for i := range ops {
				key := fmt.Appendf(nil, "counter %d", i%keys)
				err := m.Update(key, 8, func(old, fresh Item) Change {
					n := uint64(0)
					if old.Found() {
						n = binary.LittleEndian.Uint64(old.Value())
					}
					binary.LittleEndian.PutUint64(fresh.Value(), n+1)
					return Replace
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
	sum := uint64(0)
	for _, v := range contents(m) {
		sum += binary.LittleEndian.Uint64([]byte(v))
	}
	if sum != uint64(goroutines*ops) {
		t.Errorf("%d additions of %d were made", sum, goroutines*ops)
	}
	closeMap(t, m)
}

// TestTableDoesNotTakeTheRest fills an arena to its limit with small entries. The table must leave
// room for them rather than double once more.
func TestTableDoesNotTakeTheRest(t *testing.T) {
	const limit = 8 << 20
	a, err := arena.New(arena.Config{Name: "rcumap-rest", Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Arena: a, Domain: new(rcu.Domain)})
	if err != nil {
		t.Fatal(err)
	}
	section := m.Domain().Enter() // nothing that is freed comes back
	for i := 0; err == nil; i++ {
		err = m.Update(fmt.Appendf(nil, "%d", i), 0, func(_, _ Item) Change { return Replace })
	}
	if !errors.Is(err, slub.ErrNoMemory) {
		t.Error(err)
	}
	// An allocation that finds no memory asks for some in a round.
	rounds := func() uint64 { return a.Stats().Reclaim.Rounds }
	before, slots := rounds(), uint64(m.Slots())
	if slots == base {
		t.Error("the table has not grown")
	}
	m.grow(slots)
	if rounds() != before || uint64(m.Slots()) != slots {
		t.Errorf("a table of %d slots asks for memory in use", slots)
	}
	section.Exit()
	closeMap(t, m)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// TestUpdateWithoutMemory checks that an Update that fails has changed nothing and was not asked.
func TestUpdateWithoutMemory(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "rcumap-update", Limit: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Arena: a, Domain: new(rcu.Domain)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Put("key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	before := objects(t, m)
	err = m.Update([]byte("key"), 5<<20, func(_, _ Item) Change { t.Error("asked"); return Remove })
	if !errors.Is(err, slub.ErrNoMemory) || value(m, "key") != "value" || objects(t, m) != before {
		t.Errorf("%v, %q", err, value(m, "key"))
	}
	err = m.Update(bytes.Repeat([]byte("k"), 10), -1, func(_, _ Item) Change { t.Error("asked"); return Remove })
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("a value of -1 bytes: %v", err)
	}
	closeMap(t, m)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
