package arena

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
)

// Open arenas have distinct names. A name is free again when its arena is closed, or when New
// failed.
func TestNamesAreDistinct(t *testing.T) {
	cfg := Config{Name: "namesake", Span: 16 << 20}
	expect := func(want string) *Arena {
		t.Helper()
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Stats().Name; got != want {
			t.Errorf("named %s, want %s", got, want)
		}
		return a
	}
	first := expect("namesake")
	second := expect("namesake#2")
	third := expect("namesake#3")
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	heal := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	for range 3 {
		if _, err := New(cfg); !errors.Is(err, ErrReserve) {
			t.Errorf("New: %v, want %v", err, ErrReserve)
		}
	}
	heal()
	again := expect("namesake")
	if err := errors.Join(third.Close(), again.Close()); err != nil {
		t.Error(err)
	}
}
