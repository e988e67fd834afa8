package rcumap

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// newMap makes a map with its own domain. The test closes it with closeMap.
func newMap(t testing.TB) *Map {
	t.Helper()
	m, err := New(Config{Domain: new(rcu.Domain)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// closeMap fails the test if an entry, a level or a page is lost.
func closeMap(t testing.TB, m *Map) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// contents returns all entries, as Range shows them.
func contents(m *Map) map[string]string {
	r := m.Domain().Register("contents")
	defer r.Close()
	found := map[string]string{}
	for key, value := range m.Range(r) {
		if old, twice := found[string(key)]; twice {
			found[string(key)] = old + " and again " + string(value)
			continue
		}
		found[string(key)] = string(value)
	}
	return found
}

// checkList verifies that the list is sorted, that every slot before split is in it, and that the
// stripes' counts add up. No other goroutine uses m meanwhile.
func checkList(t *testing.T, m *Map) {
	t.Helper()
	slots, entries := uint64(0), 0
	for n, last := m.slot(0), uint64(0); n != m.tail; n = n.next.LoadProtected() {
		if n.order < last {
			t.Fatalf("order %#x comes after %#x", n.order, last)
		}
		if last = n.order; n.isEntry() {
			entries++
		} else {
			slots++
		}
	}
	if slots < m.split.Load() || slots > m.mask.Load()+1 {
		t.Errorf("%d slots in the list; %d should be, of %d", slots, m.split.Load(), m.mask.Load()+1)
	}
	if n := m.Len(); n != entries {
		t.Errorf("Len is %d, the list has %d entries", n, entries)
	}
}

// TestModel compares random operations with those on a Go map.
func TestModel(t *testing.T) {
	ops := testutil.Stress(t, 100_000)
	random := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	m, model := newMap(t), map[string]string{}
	r := m.Domain().Register("model")
	for i := range ops {
		key := fmt.Sprint(random.IntN(20_000))
		if i%3 == 0 {
			key = strings.Repeat("long", random.IntN(64)) + key
		}
		value := strings.Repeat("v", random.IntN(300)) + fmt.Sprint(i)
		want, there := model[key]
		if got, found := get(m, key); found != there || string(got) != want {
			t.Fatalf("Get(%q) is %q, %v instead of %q, %v", key, got, found, want, there)
		}
		if random.IntN(4) == 0 {
			if m.Delete(key) != there {
				t.Fatalf("Delete(%q) is %v", key, !there)
			}
			delete(model, key)
		} else {
			if err := m.Put(key, []byte(value)); err != nil {
				t.Fatal(err)
			}
			model[key] = value
		}
		if i%1000 == 0 {
			r.Quiescent()
		}
	}
	r.Close()
	if got := contents(m); !maps.Equal(got, model) {
		t.Errorf("%d entries differ from the model's %d", len(got), len(model))
	}
	if m.Slots() <= base {
		t.Error("the table has not grown")
	}
	checkList(t, m)
	closeMap(t, m)
	for c := range slub.Caches() {
		if strings.HasPrefix(c.Name(), "rcumap") {
			t.Errorf("cache %q is still open", c.Name())
		}
	}
}

// TestGetWhileTableGrows finds keys while most slots of a new level are not in the list yet.
func TestGetWhileTableGrows(t *testing.T) {
	m := newMap(t)
	const n = 6000
	key := func(i int) string { return fmt.Sprint("key ", i) }
	for i := range n {
		if err := m.Put(key(i), []byte(key(i))); err != nil {
			t.Fatal(err)
		}
	}
	m.grow(m.mask.Load() + 1)
	m.grow(m.mask.Load() + 1)
	if slots := m.mask.Load() + 1; m.split.Load() == slots {
		t.Fatal("all slots are in the list already")
	}
	check := func() {
		t.Helper()
		for i := range n {
			if value, found := get(m, key(i)); !found || string(value) != key(i) {
				t.Fatalf("Get(%q) is %q, %v", key(i), value, found)
			}
		}
		if got := contents(m); len(got) != n {
			t.Errorf("Range shows %d entries of %d", len(got), n)
		}
		checkList(t, m)
	}
	check()
	for slots := m.mask.Load() + 1; m.split.Load() < slots; {
		if err := m.Put(key(0), []byte(key(0))); err != nil {
			t.Fatal(err)
		}
	}
	check()
	closeMap(t, m)
}

// TestCollidingHashes has several keys with one hash. maphash cannot be made to collide, so the
// test links the entries itself.
func TestCollidingHashes(t *testing.T) {
	m := newMap(t)
	hash := m.hash("b")
	for _, key := range []string{"a", "b", "c"} {
		e, err := m.newEntry(orderOf(hash), key, len(key))
		if err != nil {
			t.Fatal(err)
		}
		copy(e.value(), key)
		at := seek(m.slotInList(hash&m.mask.Load()), e.order)
		e.next.Store(at.next.LoadProtected())
		at.next.Store(&e.node)
		m.stripeOf(hash).entries++
	}
	if value, found := get(m, "b"); !found || string(value) != "b" {
		t.Errorf("Get is %q, %v", value, found)
	}
	if err := m.Put("b", []byte("new")); err != nil {
		t.Error(err)
	}
	if got := contents(m); got["a"] != "a" || got["b"] != "new" || got["c"] != "c" {
		t.Errorf("after Put: %v", got)
	}
	if !m.Delete("b") || m.Delete("b") {
		t.Error("b could not be deleted exactly once")
	}
	if got := contents(m); len(got) != 2 {
		t.Errorf("after Delete: %v", got)
	}
	checkList(t, m)
	closeMap(t, m)
}

func TestOddSizes(t *testing.T) {
	m := newMap(t)
	for _, key := range []string{"", "k", strings.Repeat("k", 1<<16)} {
		for _, n := range []int{0, 1, 4096, 5 << 20} { // the last is larger than all size classes
			value := bytes.Repeat([]byte{'v'}, n)
			if err := m.Put(key, value); err != nil {
				t.Fatal(err)
			}
			got, found := get(m, key)
			if !found || !bytes.Equal(got, value) || cap(got) != n {
				t.Errorf("a key of %d bytes, %d bytes: found %v, %d bytes of %d", len(key), n, found, len(got), cap(got))
			}
		}
	}
	if m.Len() != 3 {
		t.Errorf("%d keys of 3", m.Len())
	}
	closeMap(t, m)
}

func TestRangeBreaksAndReportsQuiescentStates(t *testing.T) {
	m := newMap(t)
	for i := range 100 {
		if err := m.Put(fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	r := m.Domain().Register("range")
	seen := 0
	for range m.Range(r) {
		if seen++; seen == 10 {
			break
		}
	}
	if seen != 10 {
		t.Errorf("%d entries before the end", seen)
	}
	grace := m.Domain().Start()
	for key := range m.Range(r) {
		m.Delete(string(key)) // a deleted entry stays valid until the body ends
	}
	if !m.Domain().Poll(grace) {
		t.Error("Range has reported no quiescent state")
	}
	r.Close()
	if n := m.Len(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	closeMap(t, m)
}

// TestOutOfMemory checks that a Put without memory leaves the old value, and that the map works
// again once there is memory.
func TestOutOfMemory(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "rcumap-test", Limit: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Arena: a, Domain: new(rcu.Domain)})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		if err = m.Put(fmt.Sprint(n), make([]byte, 1000)); err != nil {
			break
		}
	}
	if !errors.Is(err, slub.ErrNoMemory) || n < 1000 || m.Len() != n {
		t.Errorf("after %d of %d entries: %v", n, m.Len(), err)
	}
	if err := m.Put("0", make([]byte, 2000)); !errors.Is(err, slub.ErrNoMemory) {
		t.Errorf("without memory: %v", err)
	}
	if value, found := get(m, "0"); !found || len(value) != 1000 {
		t.Errorf("the old value: %v, %d bytes", found, len(value))
	}
	for i := range n {
		m.Delete(fmt.Sprint(i))
	}
	if err := m.memory.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.Put("0", make([]byte, 1000)); err != nil {
		t.Errorf("with memory again: %v", err)
	}
	checkList(t, m)
	closeMap(t, m)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseNil(t *testing.T) {
	var m *Map
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// get is Get in a section, of a map that no other goroutine writes to.
func get(m *Map, key string) (value []byte, found bool) {
	defer m.Domain().Enter().Exit()
	return m.Get(key)
}
