//go:build invariants || race

package rcumap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slubd/slubd/rcu"
)

// TestReadingOutside: what reads a map without a lock panics outside a section of its domain, and
// Range with a reader that is offline. A section of another domain is none.
func TestReadingOutside(t *testing.T) {
	m := newMap(t)
	r := m.Domain().Register("reader")
	read := map[string]func(){
		"Get":    func() { m.Get("a") },
		"Lookup": func() { m.Lookup([]byte("a")) },
		"Scan":   func() { m.Scan(0, 1, func(Item) {}) },
		"Range": func() {
			for range m.Range(r) {
				break
			}
		},
	}
	check := func(when, want string) {
		t.Helper()
		for name, f := range read {
			text := func() (text string) {
				defer func() {
					if p := recover(); p != nil {
						text = fmt.Sprint(p)
					}
				}()
				f()
				return ""
			}()
			if !strings.Contains(text, want) || want == "" && text != "" {
				t.Errorf("%s %s: panic %q, want %q", name, when, text, want)
			}
		}
	}
	check("with an online reader", "")
	r.Offline()
	check("with an offline reader", "is no reader of domain")
	var other rcu.Domain
	s := other.Enter()
	check("in a section of another domain", "is no reader of domain")
	s.Exit()
	r.Online()
	check("online again", "")
	_ = r.Close() // always nil
	closeMap(t, m)
}
