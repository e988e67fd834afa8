package machine

import (
	"runtime"
	"testing"
)

func TestDescribe(t *testing.T) {
	e := Describe()
	if e.Engine != "rseq" && e.Engine != "trylock" {
		t.Errorf("engine %q", e.Engine)
	}
	if e.CPUs < 1 || e.Nodes < 1 || e.Kernel == "" || e.Go != runtime.Version() || e.GOMAXPROCS < 1 {
		t.Errorf("holes in %+v", e)
	}
}

func TestChosen(t *testing.T) {
	for text, want := range map[string]string{
		"always [madvise] never": "madvise", "[always] madvise never": "always", "performance": "performance", "": "",
	} {
		if got := chosen(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestAverages(t *testing.T) {
	for text, want := range map[string]string{"0.43 0.13 0.04 1/93 4711": "0.43 0.13 0.04", "0.5": "0.5", "": ""} {
		if got := averages(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
