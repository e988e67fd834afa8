package debug

import (
	"errors"
	"fmt"
	"strings"
)

// Rules say which caches are debug caches, by their names, and with which flags. The zero value
// names none. They are constant.
type Rules struct {
	blocks []block // those with names, in the order of the text
	others Flags   // of caches that none of these matches
	any    bool    // there was a block without names
}

// A block is one part of the grammar with the names it is for.
type block struct {
	flags    Flags
	patterns []string // a name each, or what comes before the * at its end
}

// Parse reads a text in the grammar of the kernel's slab_debug=, with one letter more, Q:
//
//	text  = block { ";" block }
//	block = letters { "," name }
//
// Spaces beside names and letters don't count, and one ";" at the end is allowed. The letters are
// those of the flags, in either case; none stands for Default, and "-" for no flag.
// A name may end with "*", which matches any rest. A block without names is for all caches that no
// block with names matches; of several the last one counts. Of blocks with names the first that
// matches counts, alone.
//
// Blocks that are not of the grammar are left out of the Rules, and the error, joined for all of
// them, says why.
func Parse(text string) (Rules, error) {
	var r Rules
	var errs []error
	if rest, ok := strings.CutSuffix(strings.TrimSpace(text), ";"); ok && strings.TrimSpace(rest) != "" {
		text = rest // a ";" at the end begins no block
	}
	for part := range strings.SplitSeq(text, ";") {
		b, err := parseBlock(part)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(b.patterns) > 0:
			r.blocks = append(r.blocks, b)
		default:
			r.others, r.any = b.flags, true
		}
	}
	return r, errors.Join(errs...)
}

func parseBlock(text string) (b block, err error) {
	text = strings.TrimSpace(text)
	flags, names, named := strings.Cut(text, ",")
	flags = strings.TrimSpace(flags)
	switch flags {
	case "":
		b.flags = Default
		if !named {
			return b, errors.New("a block is empty")
		}
	case "-":
	default:
		for _, letter := range flags {
			flag := flagOf(letter)
			if flag == 0 {
				return b, fmt.Errorf("%q: there is no flag %q, only %s, or - alone for none", text, letter, letters)
			}
			b.flags |= flag
		}
	}
	if !named {
		return b, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if name == "" || strings.Contains(name[:len(name)-1], "*") {
			return b, fmt.Errorf("%q: %q is no name of caches, in which * may come last", text, name)
		}
		b.patterns = append(b.patterns, name)
	}
	return b, nil
}

// For returns the flags of the cache with the given name. ok is false if the rules say nothing
// about it.
func (r Rules) For(name string) (f Flags, ok bool) {
	for _, b := range r.blocks {
		for _, pattern := range b.patterns {
			if prefix, glob := strings.CutSuffix(pattern, "*"); pattern == name || glob && strings.HasPrefix(name, prefix) {
				return b.flags, true
			}
		}
	}
	return r.others, r.any
}
