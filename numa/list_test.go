package numa

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for text, want := range map[string][]int{
		"":            nil,
		"\n":          nil,
		"0\n":         {0},
		"0-3":         {0, 1, 2, 3},
		"0-1,3,8-9\n": {0, 1, 3, 8, 9},
		"5,5,4-5,0":   {0, 4, 5},
		"63-64":       {63, 64},
		"65535":       {maxID},
	} {
		if got, err := parseList(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("parseList(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseListRefuses(t *testing.T) {
	for _, text := range []string{
		",", "0,", ",0", "0,,1", "-", "1-", "-1", "3-1", "1-2-3", "+1", "0x1", "1_0",
		"a", "0 1", "0, 1", "0-3:1/2", "65536", "0-65536", "99999999999999999999", "\x00",
	} {
		if got, err := parseList(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("parseList(%q) = %v, %v, want ErrMalformed", text, got, err)
		}
	}
}

// Whatever is accepted is ascending and in bounds, and reads the same when
// written out.
func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"", "0", "0-3,8\n", "3-1", "1,1", "0-65535", "65536", "1-", ",", "９"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return // a sysfs file is a page at most
		}
		ids, err := parseList(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || ids != nil {
				t.Fatalf("%v, %v", ids, err)
			}
			return
		}
		for i, id := range ids {
			if id < 0 || id > maxID || i > 0 && id <= ids[i-1] {
				t.Fatalf("id %d at %d", id, i)
			}
		}
		again, err := parseList(strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]"))
		if err != nil || !slices.Equal(again, ids) {
			t.Fatalf("%v reads back as %v, %v", ids, again, err)
		}
	})
}
