package scrapefile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// defaultInterval is the time between two scrapes where the file names none. Prometheus' own minute would be too
// late to judge a site by.
const defaultInterval = "15s"

// maxBytes bounds the file.
const maxBytes = 4 << 20

// Config is the configuration of the scraper: that of the file, which may be empty, and a job for each target, an
// http or https URL. Relative paths in the file are taken from its folder, as Prometheus does.
func Config(path string, targets []string) (map[string]any, error) {
	config := map[string]any{}
	if path != "" {
		root, err := read(path)
		if err != nil {
			return nil, err
		}
		if err := resolve(path, root); err != nil {
			return nil, err
		}
		if err := root.Decode(&config); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	global, _ := config["global"].(map[string]any)
	if global == nil {
		global = map[string]any{}
		config["global"] = global
	}
	if _, ok := global["scrape_interval"]; !ok {
		global["scrape_interval"] = defaultInterval
	}
	configs, _ := config["scrape_configs"].([]any)
	for _, target := range targets {
		job, err := jobOf(target)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", target, err)
		}
		configs = append(configs, job)
	}
	config["scrape_configs"] = configs
	return config, nil
}

// read returns the file as a mapping with global and scrape_configs.
func read(path string) (*yaml.Node, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: give the path of a YAML file with scrape_configs as Prometheus has them", path)
	case info.Size() > maxBytes:
		return nil, fmt.Errorf("%s is larger than %d MiB: let file_sd_configs name the targets", path, maxBytes>>20)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read by this user: give it the right owner", path)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s is no YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	const shape = "write a list of scrape configs, or scrape_configs: with such a list, and global: beside it where needed"
	if len(doc.Content) == 0 {
		return nil, fmt.Errorf("%s is empty: %s", path, shape)
	}
	root := doc.Content[0]
	if root.Kind == yaml.SequenceNode {
		root = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "scrape_configs"}, root}}
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: not a list: %s", path, root.Line, shape)
	}
	var configs *yaml.Node
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch key := root.Content[i]; key.Value {
		case "global":
		case "scrape_configs":
			configs = root.Content[i+1]
		default:
			return nil, fmt.Errorf("%s:%d: %s is not for an agent: keep global and scrape_configs only", path, key.Line, key.Value)
		}
	}
	if configs == nil || len(configs.Content) == 0 {
		return nil, fmt.Errorf("%s names nothing to scrape: %s", path, shape)
	}
	return root, check(path, raw, doc.Content[0].Kind == yaml.SequenceNode)
}

// resolve makes the paths below a node absolute, and sees that the files with secrets and certificates are there.
func resolve(path string, node *yaml.Node) error {
	for i, child := range node.Content {
		if node.Kind != yaml.MappingNode {
			if err := resolve(path, child); err != nil {
				return err
			}
			continue
		}
		if i%2 == 0 {
			continue
		}
		key := node.Content[i-1].Value
		switch {
		case strings.HasSuffix(key, "_file") && child.Kind == yaml.ScalarNode && child.Value != "":
			child.Value = beside(path, child.Value)
			if _, err := os.Stat(child.Value); err != nil {
				return fmt.Errorf("%s:%d: %s %s cannot be read: give the path of a file that this user can read",
					path, child.Line, key, child.Value)
			}
		case key == "files" && child.Kind == yaml.SequenceNode:
			for _, file := range child.Content {
				file.Value = beside(path, file.Value)
			}
		default:
			if err := resolve(path, child); err != nil {
				return err
			}
		}
	}
	return nil
}

func beside(path, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(path), name)
}

// Escape doubles the dollar signs of all texts below v: the Collector would expand them, Prometheus does not.
func Escape(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "$", "$$")
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = Escape(value)
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i, value := range out {
			out[i] = Escape(value)
		}
		return out
	}
	return v
}
