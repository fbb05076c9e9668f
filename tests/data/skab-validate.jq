# Checks a document (its input) against a JSON Schema ($schema): the words
# that skab-1.schema.json uses, and an error for any other, so that the schema
# cannot ask for something that is silently not checked.  Prints one line for
# each fault.
def known: ["$schema", "title", "definitions", "type", "required",
  "properties", "additionalProperties", "items", "const", "enum", "$ref"];

def is_of($wanted):
  ($wanted | if type == "array" then . else [.] end) as $types
  | type as $t | $types | any(. == $t);

def faults($s; $root; $at):
  . as $doc
  | (($s | keys_unsorted) - known) as $unknown
  | if $unknown != [] then "\($at): schema word \($unknown[0])"
    elif $s["$ref"] then
      ($s["$ref"] | ltrimstr("#/") | split("/")) as $path
      | faults($root | getpath($path); $root; $at)
    else
      (if ($s | has("const")) and $doc != $s.const then
         "\($at): is \($doc | tojson)" else empty end),
      (if $s.enum and ($s.enum | index([$doc]) == null) then
         "\($at): \($doc | tojson) is none of \($s.enum | tojson)"
       else empty end),
      (if $s.type and (is_of($s.type) | not) then
         "\($at): is \(type), not \($s.type | tojson)" else empty end),
      (if type == "object" then
         (($s.required // [])[] as $key
          | select($doc | has($key) | not) | "\($at): has no \($key)"),
         (keys_unsorted[] as $key
          | (if $s.properties | has($key)? then $s.properties[$key]
             else $s.additionalProperties end) as $inner
          | if $inner == false then "\($at): unknown \($key)"
            elif $inner == null or $inner == true then empty
            else .[$key] | faults($inner; $root; "\($at).\($key)") end)
       elif type == "array" and $s.items then
         (range(0; length) as $i
          | .[$i] | faults($s.items; $root; "\($at)[\($i)]"))
       else empty end)
    end;

faults($schema[0]; $schema[0]; "")
