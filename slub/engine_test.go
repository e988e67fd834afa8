package slub_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// TestEngineIsLogged: an arena's logger is told once, that its caches use another engine than
// rseq, with the reason.
func TestEngineIsLogged(t *testing.T) {
	if !testutil.Child(t, "SLUBD_ENGINE=trylock") {
		return
	}
	var text bytes.Buffer
	a := newArena(t, arena.Config{})
	a.SetLogger(slog.New(slog.NewTextHandler(&text, nil)))
	open(t, a, slub.Config{Size: 64})
	open(t, a, slub.Config{Size: 128})
	if n := strings.Count(text.String(), "engine=trylock reason=\"SLUBD_ENGINE=trylock\""); n != 1 {
		t.Errorf("logged %d times: %s", n, &text)
	}
}
