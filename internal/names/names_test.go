package names

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestLeastNumberThatIsFree(t *testing.T) {
	var s Set[int]
	for owner, want := range []string{"a", "a#2", "b", "a#3", "b#2"} {
		if got := s.Add(want[:1], owner); got != want {
			t.Errorf("owner %d is called %s, want %s", owner, got, want)
		}
	}
	s.Remove("a#3", 3)
	s.Remove("a", 0)
	s.Remove("a", 0)   // a second time
	s.Remove("a#2", 7) // 7 is not its owner
	s.Remove("c", 1)   // no owner has this name
	for owner, want := range []string{"a", "a#3", "a#4"} {
		if got := s.Add("a", owner+10); got != want {
			t.Errorf("after removals the next is called %s, want %s", got, want)
		}
	}
	if s.Len() != 6 {
		t.Errorf("%d names in use, want 6", s.Len())
	}
}

// A base that looks like a numbered name gets along with the base that it looks like.
func TestBaseWithNumber(t *testing.T) {
	var s Set[int]
	for owner, c := range []struct{ base, want string }{
		{base: "a#2", want: "a#2"},
		{base: "a", want: "a"},
		{base: "a", want: "a#3"},
		{base: "a#3", want: "a#3#2"},
		{base: "a#2", want: "a#2#2"},
	} {
		if got := s.Add(c.base, owner); got != c.want {
			t.Errorf("the next %s is called %s, want %s", c.base, got, c.want)
		}
	}
}

func TestNothingStays(t *testing.T) {
	var s Set[int]
	for owner := range 100 {
		s.Add(fmt.Sprint(owner%7), owner)
	}
	for name, e := range s.inUse {
		s.Remove(name, e.owner)
	}
	if len(s.inUse)+len(s.bases) != 0 {
		t.Errorf("%d names and %d bases are left", len(s.inUse), len(s.bases))
	}
}

// With a search from 2 on for each name, as many would take some minutes.
func Test100000EqualNames(t *testing.T) {
	const n = 100_000
	start := time.Now()
	var s Set[int]
	used := make(map[string]int, n)
	for owner := range n {
		used[s.Add("x", owner)] = owner
	}
	if len(used) != n || s.Len() != n {
		t.Fatalf("%d different names, %d in use, want %d", len(used), s.Len(), n)
	}
	for _, i := range rand.Perm(n)[:n/2] {
		name := fmt.Sprintf("x#%d", i+1)
		if i == 0 {
			name = "x"
		}
		s.Remove(name, used[name])
		delete(used, name)
	}
	for owner := range n / 2 {
		used[s.Add("x", owner)] = owner
	}
	last := fmt.Sprintf("x#%d", n)
	if _, ok := used[last]; !ok || len(used) != n {
		t.Errorf("%d different names after %d were removed and added; is %s among them: %v", len(used), n/2, last, ok)
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("it took %v", d)
	}
}

// All yields the owner of each name once, and of none that was removed.
func TestAll(t *testing.T) {
	var s Set[int]
	for owner := range 5 {
		s.Add("x", owner)
	}
	s.Remove("x#3", 2)
	seen := map[int]int{}
	for owner := range s.All() {
		seen[owner]++
	}
	for owner := range 5 {
		if want := min(1, (owner-2)*(owner-2)); seen[owner] != want {
			t.Errorf("owner %d is yielded %d times, want %d", owner, seen[owner], want)
		}
	}
	for range s.All() {
		break
	}
}
