// node run.mjs MODULE URL: listen as the module does, and print each call as a line of JSON.
const [module, url] = process.argv.slice(2);
const { listen } = await import(module);
const print = (what) => console.log(JSON.stringify(what));
listen(url, (data) => print(["message", data]), () => print(["reset"]));
