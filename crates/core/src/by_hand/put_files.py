import grp, json, os, pwd, shutil, sys
dest = sys.argv[1]                                    # "" on the host itself, or a directory to look at first
def mkdir(path):
    if not os.path.isdir(path):
        os.makedirs(path)
def number(find, name, fallback):
    try:
        return find(name)
    except (KeyError, TypeError):
        return fallback
for item in json.load(open("manifest.json"))["items"]:
    if not item["source"].startswith("/"):
        continue                                      # a snapshot, or the output of a command
    target, kind, owner = dest + item["source"], item["kind"], item["owner"]
    mkdir(os.path.dirname(target))
    if os.path.lexists(target) and kind != "folder":
        aside = dest + "/root/before-restore" + item["source"]
        mkdir(os.path.dirname(aside))
        os.remove(target) if os.path.lexists(aside) else shutil.move(target, aside)
    if kind == "symlink":
        os.symlink(item["target"], target)
        continue
    if kind == "folder":
        mkdir(target)
    else:
        shutil.copyfile(item["path"], target)
    os.chown(target, number(lambda n: pwd.getpwnam(n).pw_uid, owner.get("user"), owner["uid"]),
                     number(lambda n: grp.getgrnam(n).gr_gid, owner.get("group"), owner["gid"]))
    os.chmod(target, int(item["mode"], 8))
    print(target)
