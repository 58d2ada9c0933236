/** An example request of the published API document, as it stands there. */
export interface Example {
  readonly method: string;
  readonly url: string;
  /** Sent as `curl -d` sends it, as a form; `@zip` stands for `-F "build=@…"`. */
  readonly body?: string;
  /** What it meets in the prepared application. Default 200. */
  readonly status?: number;
}

const COMPLEX_GITDEPLOY = `{
  "attributes": {
    "description": "Example gitdeploy for Elita documentation"
  },
  "package": "webapplication_pkg",
  "location": {
    "path": "/opt/widgetmaker",
    "default_branch": "master",
    "gitrepo": "wm_webapp_gitrepo"
  },
  "options": {
    "favor": "ours",
    "ignore-whitespace": "true",
    "gitignore": [
      "foo.txt"
    ]
  },
  "actions": {
    "prepull": {
      "stop_apache": {
        "service": [
          {
            "name": "httpd"
          },
          "dead"
        ]
      }
    },
    "postpull": {
      "start_apache": {
        "service": [
          {
            "name": "httpd"
          },
          "running"
        ]
      }
    }
  }
}`;

const SIMPLE_GITDEPLOY = `{
  "package": "webapplication_pkg",
  "location": {
    "path": "/opt/widgetmaker",
    "default_branch": "master",
    "gitrepo": "wm_webapp_gitrepo"
  }
}`;

const PACKAGE_MAP = `{
  "packages": {

     "binaries": {
         "patterns": [ "bin/**/*" ]
     },
     "configs": {
         "patterns": [ "conf/**/*.xml" ],
         "prefix": "app-config/"
     }

  }
}`;

const app = '/app/widgetmakers';

/** All of them, in the order of the document but for most that deletes, which comes last. */
export const SEED_EXAMPLES: readonly Example[] = [
  { method: 'GET', url: '/app' },
  { method: 'PUT', url: '/app?app_name=widgetmaker', status: 201 },
  { method: 'GET', url: '/app/widgetmaker' },

  { method: 'GET', url: '/app/widgetmaker/builds' },
  {
    method: 'PUT',
    url: `${app}/builds?build_name=1-master`,
    body: '{ "attributes": { "branch_name": "master" } }',
    status: 201,
  },
  {
    method: 'PATCH',
    url: `${app}/builds/1-master`,
    body: '{ "attributes": { "branch_name": "something-else" } }',
  },
  { method: 'POST', url: `${app}/builds/1-master?file_type=zip`, body: '@zip', status: 202 },

  { method: 'GET', url: `${app}/packagemaps` },
  { method: 'GET', url: `${app}/packagemaps/my_package_map` },
  {
    method: 'PUT',
    url: `${app}/packagemaps?name=example_map`,
    body: '{ "packages": { "binaries": { "patterns": [ "bin/**/*" ] } } }',
    status: 201,
  },
  // The document's example of a body, for which it names no map.
  { method: 'PUT', url: `${app}/packagemaps?name=map_of_two`, body: PACKAGE_MAP, status: 201 },

  { method: 'GET', url: `${app}/gitrepos` },
  { method: 'GET', url: `${app}/gitrepos/MyRepo1` },
  { method: 'DELETE', url: `${app}/gitrepos/MyRepo1` },
  {
    method: 'PUT',
    url: `${app}/gitrepos?name=MyRepo1&existing=false&gitprovider=gp1&keypair=kp1`,
    status: 202,
  },
  // The path of the heading, which is another one than the example's.
  {
    method: 'PUT',
    url: `${app}/gitrepo?name=MyRepo2&existing=false&gitprovider=gp1&keypair=kp1`,
    status: 202,
  },

  { method: 'GET', url: `${app}/gitdeploys` },
  { method: 'GET', url: `${app}/gitdeploys/WebApplication` },
  {
    method: 'PUT',
    url: `${app}/gitdeploys?name=WebApp`,
    body: COMPLEX_GITDEPLOY,
    status: 201,
  },
  {
    method: 'PUT',
    url: `${app}/gitdeploys?name=WebAppSimple`,
    body: SIMPLE_GITDEPLOY,
    status: 201,
  },
  {
    method: 'POST',
    url: `${app}/gitdeploys/WebApp?initialize=true`,
    body: '{ "servers": [ "web01" ] }',
    status: 202,
  },
  {
    method: 'POST',
    url: `${app}/gitdeploy/WebAppSimple?initialize=true`,
    body: '{\n   "servers": [ "web01", "web02", "web03" ]\n}',
    status: 202,
  },
  {
    method: 'POST',
    url: `${app}/gitdeploys/WebApp?deinitialize=true`,
    body: '{ "servers": [ "web01" ] }',
    status: 202,
  },

  { method: 'GET', url: `${app}/groups` },
  {
    method: 'PUT',
    url: `${app}/groups?name=WebFrontEnd`,
    body: '{ "gitdeploys": [ "Configuration", "WebApplication", "StaticAssets" ] }',
    status: 201,
  },
  { method: 'GET', url: `${app}/groups/WebFrontEnd?environments=production+testing` },

  { method: 'GET', url: `${app}/deployments` },
  // An id of the old system: it reads well, and there is none such.
  { method: 'GET', url: `${app}/deployments/53716bfddf15e00e19043b8f`, status: 404 },
  {
    method: 'POST',
    url: `${app}/deployments?build_name=5-master`,
    body: '{ "servers": [ "web01" ], "gitdeploys":\n [ "WebApplication", "Configuration" ] }',
    status: 202,
  },
  {
    method: 'POST',
    url: `${app}/deployments?build_name=5-master&rolling_divisor=4`,
    body: '{ "environments": [ "production" ],\n"groups": [ "WebFrontEnd" ] }',
    status: 202,
  },

  { method: 'DELETE', url: `${app}/groups/WebFrontEnd` },
  { method: 'DELETE', url: `${app}/gitdeploys/WebApplication` },
  { method: 'DELETE', url: `${app}/packagemaps/example_map` },
  { method: 'DELETE', url: `${app}/builds/1-master` },
  { method: 'DELETE', url: '/app/widgetmaker' },
  // A stored build takes no second upload, so it is made anew.
  {
    method: 'PUT',
    url: `${app}/builds?build_name=1-master`,
    body: '{ "attributes": { "branch_name": "master" } }',
    status: 201,
  },
  {
    method: 'POST',
    url: `${app}/builds/1-master?file_type=zip&indirect_url=http%3A%2F%2Ffoobar.com%2Fbuild.zip`,
    status: 202,
  },
];
