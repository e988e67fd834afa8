package rcumap

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// TestHardened: the caches of a map with Hardened find a second free. A map whose config is wrong
// is refused.
func TestHardened(t *testing.T) {
	var kinds []hooks.Kind
	m, err := New(Config{Domain: new(rcu.Domain), Hardened: slub.On,
		Hooks: hooks.Hooks{Report: func(r *hooks.Report) { kinds = append(kinds, r.Kind) }}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Memory().Malloc(100)
	if err != nil {
		t.Fatal(err)
	}
	m.Memory().Free(p)
	m.Memory().Free(p)
	if len(kinds) != 1 || kinds[0] != hooks.DoubleFree {
		t.Errorf("reports: %v", kinds)
	}
	closeMap(t, m)
	for _, cfg := range []Config{{Hardened: 7}, {GuardRate: slub.None - 1}} {
		if _, err := New(cfg); !errors.Is(err, slub.ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
